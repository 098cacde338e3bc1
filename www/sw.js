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
  "builds.js",
  "checkpoint.js",
  "classify.js",
  "clip.js",
  "connection.js",
  "decode.js",
  "download.js",
  "error.js",
  "foreign.js",
  "helpers.js",
  "icon.svg",
  "inputs.js",
  "keeper.js",
  "loading.js",
  "main.js",
  "models.json",
  "module.js",
  "options.js",
  "page/check.js",
  "page/compare.js",
  "page/drawing.js",
  "page/elements.js",
  "page/embed.js",
  "page/exports.js",
  "page/images.js",
  "page/kept.js",
  "page/labels.js",
  "page/lastload.js",
  "page/model.js",
  "page/notice.js",
  "page/resources.js",
  "page/result.js",
  "page/samples.js",
  "page/search.js",
  "page/search/collection.js",
  "page/search/database.js",
  "page/search/folder.js",
  "page/search/folders.js",
  "page/search/indexing.js",
  "page/search/nearest.js",
  "page/search/note.js",
  "page/search/progress.js",
  "page/search/query.js",
  "page/search/results.js",
  "page/search/thumbnail.js",
  "page/sizes.js",
  "page/strip.js",
  "page/tables.js",
  "page/texts.js",
  "page/views.js",
  "platform.js",
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
  "vectors.js",
  "weights.js",
  "worker.js",
];
/** What few visitors ask for: kept once it has been asked for. */
const LATER = [
  "check/astronaut.png",
  "check/camera.png",
  "check/chelsea.png",
  "check/coffee.png",
  "check/horse.png",
  "check/rocket.jpg",
  "check/similarity.demo.json",
  "check/similarity.openai-vit-b-32.json",
];
/** A relaxed dot product, which tells the builds that this browser runs: see builds.js. */
const RELAXED_DOT = new Uint8Array([
  0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x01, 0x60, 0x03, 0x7b, 0x7b, 0x7b, 0x01, 0x7b, 0x03,
  0x02, 0x01, 0x00, 0x0a, 0x0d, 0x01, 0x0b, 0x00, 0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0xfd, 0x93, 0x02, 0x0b,
]);

const PAGE_URLS = new Set([...PAGE, ...LATER].map(here));

worker.addEventListener("install", (event) => {
  worker.skipWaiting();
  event.waitUntil(keepPage());
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const isolates = ISOLATED.includes(request.destination);
  if (request.method !== "GET" || !(isolates || isPage(request.url))) return;
  event.respondWith(
    (async () => {
      const response = isPage(request.url) ? await fetchOrRecall(event) : await fetch(request);
      return isolates ? isolated(response) : response;
    })(),
  );
});

/**
 * Whether a URL is one of the page's own files: what else lies in this worker's scope is its site's business.
 * @param {string} url
 */
function isPage(url) {
  return url.startsWith(here("pkg/")) || PAGE_URLS.has(plain(url));
}

/** @param {string} path from this file on */
function here(path) {
  return new URL(path, worker.location.href).href;
}

/** @param {string} url */
function plain(url) {
  const { origin, pathname } = new URL(url);
  return origin + pathname.replace(/\/index\.html$/, "/");
}

/**
 * Keeps what there is: who uses the API alone has no page. Of the module the build that this visit runs; the one
 * with threads is kept when a later visit asks for it, and one without a network does without.
 */
async function keepPage() {
  const cache = await caches.open(CACHE);
  const build = WebAssembly.validate(RELAXED_DOT) ? "relaxed" : "simd128";
  const modules = ["clip_wasm.js", "clip_wasm_bg.wasm"].map((file) => `pkg/${build}/${file}`);
  await Promise.allSettled([...PAGE, ...modules].map((path) => cache.add(path)));
}

/**
 * From the network, so that a new version of the page is never missed; from the last visit where there is none.
 * @param {FetchEvent} event
 * @returns {Promise<Response>}
 */
async function fetchOrRecall(event) {
  const url = plain(event.request.url);
  const cache = await caches.open(CACHE);
  const kept = await cache.match(url);
  try {
    const response = await fetch(event.request);
    if (response.ok && !(kept && isSame(response, kept))) event.waitUntil(cache.put(url, response.clone()));
    return response;
  } catch (error) {
    if (kept) return kept;
    throw error;
  }
}

/**
 * @param {Response} one
 * @param {Response} other
 */
function isSame(one, other) {
  const tags = ["etag", "last-modified"].map((name) => [one.headers.get(name), other.headers.get(name)]);
  return tags.some(([a]) => a !== null) && tags.every(([a, b]) => a === b);
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
