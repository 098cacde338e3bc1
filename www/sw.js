// The service worker: keeps the page for visits without a network, and makes it cross-origin isolated, so that
// its encoder may use threads, on hosts that do not send the headers for it. Both from the visit after the one
// that installs it. Weights go past it: see store.js.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
/** What the browser isolates. */
const ISOLATED = ["document", "worker"];

const CACHE = "clip-wasm-page";
/** What the page is made of, beside the wasm module. */
const PAGE = [
  "./",
  "checkpoint.js",
  "clip.js",
  "connection.js",
  "decode.js",
  "download.js",
  "error.js",
  "helpers.js",
  "icon.svg",
  "keeper.js",
  "loading.js",
  "main.js",
  "models.json",
  "module.js",
  "page/compare.js",
  "page/drawing.js",
  "page/elements.js",
  "page/images.js",
  "page/kept.js",
  "page/lastload.js",
  "page/model.js",
  "page/notice.js",
  "page/result.js",
  "page/samples.js",
  "page/sizes.js",
  "page/texts.js",
  "remote.js",
  "samples.json",
  "samples/faces.png",
  "samples/fish.png",
  "samples/hearts.png",
  "samples/house.png",
  "samples/letter.png",
  "samples/moon.png",
  "store.js",
  "style.css",
  "thread.js",
  "weights.js",
  "worker.js",
];
/** A relaxed dot product, which tells the builds that this browser runs: see module.js. */
const RELAXED_DOT = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, 0x03,
  0x02, 0x01, 0x00, 0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfd, 0x93, 0x02, 0x0b,
]);

worker.addEventListener("install", (event) => {
  worker.skipWaiting();
  event.waitUntil(keepPage());
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const own = request.url.startsWith(worker.registration.scope);
  const isWeights = request.headers.has("range") || request.cache === "no-store" || request.url.endsWith(".gguf");
  if (request.method === "GET" && own && !isWeights) event.respondWith(answer(request));
});

async function keepPage() {
  const cache = await caches.open(CACHE);
  await cache.addAll(PAGE);
  const build = WebAssembly.validate(RELAXED_DOT) ? "relaxed" : "simd128";
  for (const name of [build, `${build}-threads`]) {
    const files = ["clip_wasm.js", "clip_wasm_bg.wasm"].map((file) => `pkg/${name}/${file}`);
    // Threads may not have been built.
    await cache.addAll(files).catch((error) => console.warn(`${name} is not kept for visits without a network: ${error}`));
  }
}

/**
 * From the network, so that a new version of the page is never missed; from the last visit where there is none.
 * @param {Request} request
 * @returns {Promise<Response>}
 */
async function answer(request) {
  const response = await fetchOrRecall(request);
  return ISOLATED.includes(request.destination) ? isolated(response) : response;
}

/** @param {Request} request */
async function fetchOrRecall(request) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok && response.type === "basic") await cache.put(request, response.clone());
    return response;
  } catch (error) {
    const kept = await cache.match(request, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

/** @param {Response} response */
function isolated(response) {
  // A redirect, which the browser follows by another request.
  if (response.type === "opaqueredirect") return response;
  const { body, status, statusText } = response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ISOLATION)) headers.set(name, value);
  return new Response(body, { status, statusText, headers });
}
