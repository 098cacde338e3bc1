// What a worker asks servers for: told to its page, which cannot see it otherwise.

/** Told of the URLs that this page's workers ask for, as they do: a `CustomEvent<string[]>` named `requests`. */
export const workerRequests = new EventTarget();

/** Tells this worker's page of every request that the worker makes, those before this call too. */
export function reportRequests() {
  observeRequests((urls) => self.postMessage({ requests: urls }));
}

/**
 * What the page or worker at hand asks servers for.
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
  return urls.filter((url) => /^https?:/.test(url)); // not what is in memory
}
