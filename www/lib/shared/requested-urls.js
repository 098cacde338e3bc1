// Reports a worker's requests to its page, which cannot see them otherwise.

/** Dispatches a `CustomEvent<string[]>` named `requests` with the URLs that this page's workers request. */
export const workerRequests = new EventTarget();

/** Reports every request of this worker to its page, those before this call too. */
export function reportRequests() {
  observeRequests((urls) => self.postMessage({ requests: urls }));
}

/**
 * Observes the requests of this page or worker.
 * @param {(urls: string[]) => void} onRequests
 */
export function observeRequests(onRequests) {
  if (!("PerformanceObserver" in globalThis)) return;
  new PerformanceObserver((list) => onRequests(requestedUrls(list))).observe({ type: "resource", buffered: true });
}

/**
 * @param {Pick<Performance, "getEntriesByType">} timeline
 * @returns {string[]}
 */
export function requestedUrls(timeline) {
  const urls = timeline.getEntriesByType("resource").map(({ name }) => name);
  return urls.filter((url) => /^https?:/.test(url)); // not blob: and data: URLs
}
