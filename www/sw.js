// The service worker: makes the page cross-origin isolated, so that its encoder may use threads, on hosts
// that do not send the headers for it. It does so from the visit after the one that installs it.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** What the browser isolates; all else goes past this worker, at no cost. */
const ISOLATED = ["document", "worker"];

worker.addEventListener("install", () => void worker.skipWaiting());
worker.addEventListener("fetch", (event) => {
  if (ISOLATED.includes(event.request.destination)) event.respondWith(isolate(event.request));
});

/**
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function isolate(request) {
  const response = await fetch(request);
  // A redirect, which the browser follows by another request.
  if (response.type === "opaqueredirect") return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}
