// The service worker: keeps the page for visits without a network; makes it cross-origin isolated, so that its
// encoder may use threads, on hosts that do not send the headers for it; has requests to the hosted endpoint's paths
// answered by an open page that has an encoder, see endpoint.js; and tells pages what their requests send. The first
// two from the visit after the one that installs it. Weights go past it: see store.js.

const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));

const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};
/** What the browser isolates. */
const ISOLATED = ["document", "iframe", "worker"];

const CACHE = "clip-wasm-page";
/** What the page is made of, beside the wasm module. */
const PAGE = [
  "./",
  "builds.js",
  "checkpoint-names.js",
  "checkpoint.js",
  "classify.js",
  "clip.js",
  "connection.js",
  "decode.js",
  "download.js",
  "endpoint.js",
  "error.js",
  "foreign.js",
  "helpers.js",
  "icon.svg",
  "icons/192.png",
  "icons/512.png",
  "icons/maskable-512.png",
  "inputs.js",
  "keeper.js",
  "keptfile.js",
  "lasting-worker.js",
  "limits.js",
  "loading.js",
  "main.js",
  "manifest.webmanifest",
  "models.json",
  "models/demo.gguf",
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
  "page/offline.js",
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
  "page/site.js",
  "page/sizes.js",
  "page/strip.js",
  "page/tables.js",
  "page/texts.js",
  "page/traffic.js",
  "page/views.js",
  "platform.js",
  "remote.js",
  "requests.js",
  "samples.json",
  "samples/faces.png",
  "samples/fish.png",
  "samples/hearts.png",
  "samples/house.png",
  "samples/letter.png",
  "samples/moon.png",
  "start.js",
  "starting.js",
  "store.js",
  "stores/cache.js",
  "stores/filesystem.js",
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

/** The paths of the hosted endpoint, and OpenAI's, from this worker's scope on. */
const ENDPOINT = /^(api\/predict\/(file|nlp)\/[^/]+\/[^/]+|v1\/embeddings)\/?$/;
const MOST_BODY_BYTES = 64 << 20;
/** Milliseconds in which a page says that it has heard, if it listens at all. */
const PATIENCE = 1000;
/** Milliseconds between looks whether the page that answers is still open. */
const LOOK = 1000;
/** Milliseconds for an answer: the browser ends a worker that takes longer than five minutes. */
const LONGEST_ANSWER = 240_000;

/** Pages that did not listen when they were last asked, by their ids. @type {Set<string>} */
const deaf = new Set();
/** Whether any of the page's own files came from what is kept, for want of a network, since the page was last opened. */
let recalled = false;

worker.addEventListener("install", (event) => {
  worker.skipWaiting();
  event.waitUntil(keepPage());
});

worker.addEventListener("message", (event) => {
  const { data, source, ports } = event;
  const reply = (/** @type {unknown} */ message) => ports[0]?.postMessage(message);
  if (data?.method === "serve" && source instanceof Client) {
    deaf.delete(source.id);
    // So that the endpoint is there at the first visit too.
    event.waitUntil(worker.clients.claim().catch(() => {}).then(() => reply("serving")));
  }
  if (data?.method === "kept") event.waitUntil(missingFiles().then((missing) => reply({ missing, recalled })));
});

worker.addEventListener("fetch", (event) => {
  const { request } = event;
  const isolates = ISOLATED.includes(request.destination);
  const toEndpoint = isEndpoint(request.url);
  if (!toEndpoint) countBody(event);
  if (!toEndpoint && (request.method !== "GET" || !(isolates || isPage(request.url)))) return;
  event.respondWith(
    (async () => {
      let response;
      if (toEndpoint) response = await answerFromPage(event);
      else response = isPage(request.url) ? await fetchOrRecall(event) : await fetch(request);
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
  await Promise.allSettled(files().map((url) => cache.add(url)));
}

/**
 * What a visit without a network would lack; it is asked for once more.
 * @returns {Promise<string[]>}
 */
async function missingFiles() {
  const cache = await caches.open(CACHE);
  const isKept = async (/** @type {string} */ url) =>
    (await cache.match(url)) !== undefined ||
    cache.add(url).then(
      () => true,
      () => false,
    );
  const kept = await Promise.all(files().map(isKept));
  return files().filter((_, index) => !kept[index]);
}

/** URLs of all that a visit without a network needs. */
function files() {
  const build = WebAssembly.validate(RELAXED_DOT) ? "relaxed" : "simd128";
  const modules = ["clip_wasm.js", "clip_wasm_bg.wasm"].map((file) => `pkg/${build}/${file}`);
  return [...PAGE, ...modules].map(here);
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
    // A file may have come from the browser's own cache, without any network.
    if (event.request.mode === "navigate") recalled = false;
    // A part of a file is not kept.
    if (response.status === 200 && !(kept && isSame(response, kept))) event.waitUntil(cache.put(url, response.clone()));
    return response;
  } catch (error) {
    // One that was given up says nothing of the network.
    if (event.request.signal.aborted || !kept) throw error;
    recalled = true;
    return kept;
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
  // A host that isolates the page may do it with `credentialless`, which allows more.
  const isIsolated = headers.get("cross-origin-embedder-policy") === "credentialless";
  for (const [name, value] of Object.entries(ISOLATION)) {
    if (!(isIsolated && headers.has(name))) headers.set(name, value);
  }
  return new Response(body, { status, statusText, headers });
}

/** @param {string} url */
function isEndpoint(url) {
  const { scope } = worker.registration;
  const address = plain(url);
  return address.startsWith(scope) && ENDPOINT.test(address.slice(scope.length));
}

/**
 * Asks the page that made the request, then the others, until one has an encoder: a service worker can start none.
 * @param {FetchEvent} event
 * @returns {Promise<Response>}
 */
async function answerFromPage({ request, clientId }) {
  const { url, method } = request;
  const body = await request.blob();
  if (body.size > MOST_BODY_BYTES) {
    return failure(url, 413, "body_too_large", `the body has ${body.size} bytes, and at most ${MOST_BODY_BYTES} are taken: send fewer or smaller inputs`);
  }
  const asked = { url, method, contentType: request.headers.get("content-type"), body };
  for (const page of await openPages(clientId)) {
    const answer = deaf.has(page.id) ? null : await ask(page, asked);
    if (answer) return answer;
  }
  deaf.clear(); // one may only have been busy
  return failure(url, 503, "no_encoder", "no open page of this site has a model: open the page, load one, and ask again");
}

/**
 * @param {string} [first] the id of the page that is to come first
 * @returns {Promise<readonly WindowClient[]>} of this worker's scope, the last used first
 */
async function openPages(first) {
  const pages = await worker.clients.matchAll({ type: "window", includeUncontrolled: true });
  const inScope = pages.filter(({ url }) => url.startsWith(worker.registration.scope));
  return inScope.sort((a, b) => Number(b.id === first) - Number(a.id === first));
}

/**
 * @param {WindowClient} page
 * @param {{ url: string, method: string, contentType: string | null, body: Blob }} asked
 * @returns {Promise<Response | null>} `null` where the page does not listen, has no encoder, or is closed
 */
function ask(page, asked) {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const settle = (/** @type {Response | null} */ answer) => {
      clearTimeout(patience);
      clearTimeout(limit);
      clearInterval(look);
      port1.close();
      resolve(answer);
    };
    const patience = setTimeout(() => {
      deaf.add(page.id);
      settle(null);
    }, PATIENCE);
    const limit = setTimeout(() => {
      const seconds = LONGEST_ANSWER / 1000;
      settle(failure(asked.url, 504, "timeout", `the page took longer than ${seconds} seconds: send fewer inputs in a request`));
    }, LONGEST_ANSWER);
    const look = setInterval(async () => (await worker.clients.get(page.id)) ?? settle(null), LOOK);
    port1.onmessage = ({ data }) => {
      clearTimeout(patience);
      if (data === "heard") return;
      settle(data && new Response(data.body, data));
    };
    page.postMessage({ endpoint: asked }, [port2]);
  });
}

/**
 * An error in the form of the interface that was asked: see endpoint.js.
 * @param {string} url
 * @param {number} status
 * @param {string} code
 * @param {string} message
 */
function failure(url, status, code, message) {
  const isOpenAi = /\/v1\/embeddings\/?$/.test(plain(url));
  const type = status < 500 ? "invalid_request_error" : "server_error";
  const json = isOpenAi ? { error: { message, type, param: null, code } } : { error: { code, message }, status_code: status };
  return Response.json(json, { status, headers: { "cache-control": "no-store" } });
}

/**
 * Tells the page how many bytes a request of its sends; what a worker sends is told to all.
 * @param {FetchEvent} event
 */
function countBody(event) {
  const { request, clientId } = event;
  if (["GET", "HEAD"].includes(request.method)) return;
  const { url } = request;
  const sent = request.clone().blob();
  event.waitUntil(
    (async () => {
      const { size } = await sent;
      const pages = await openPages(clientId);
      const told = pages[0]?.id === clientId ? pages.slice(0, 1) : pages;
      for (const page of told) page.postMessage({ sent: { bytes: size, url } });
    })(),
  );
}
