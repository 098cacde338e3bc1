// The hosted endpoint without a server: an encoder of a page answers its requests, and OpenAI's requests for
// embeddings.

import { ClipError, errorJson } from "./clip.js";
import { FieldError, inputsOf } from "./lib/client/openai-input.js";
import { ENDPOINT_PATHS, endsWithPath } from "./lib/shared/endpoint-paths.js";
import { environment } from "./lib/shared/environment.js";
import { errorOfInput } from "./lib/shared/error.js";

/** @import { ClipEncoder, Embeddings } from "./clip.js" */
/** @import { Input } from "./lib/client/openai-input.js" */

/**
 * An encoder, or a function that is called for every request and gives the encoder, or `null` if there is none.
 * @typedef {ClipEncoder | (() => ClipEncoder | null | Promise<ClipEncoder | null>)} EncoderSource
 */

/**
 * A request as sw.js passes it to a page.
 * @typedef {{ url: string, method: string, contentType: string | null, body: Blob }} PassedRequest
 */

/**
 * @typedef {object} EndpointOptions
 * @property {(error: unknown) => void} [onError] called with the error of each request that is not answered with 200
 * @property {boolean} [fetchImages] whether images that a request gives by their addresses are fetched. By default, in a
 *   browser; in a server, strangers could have it fetch what only the server may see
 */

/**
 * @typedef {object} Interface
 * @property {RegExp} path
 * @property {"GET" | "POST"} method
 * @property {(request: Request, encoder: ClipEncoder, options: EndpointOptions) => Promise<object>} answer the JSON of status 200
 * @property {(error: unknown) => object} failure the JSON of every other status
 */

/** @type {Interface[]} */
const INTERFACES = [
  { path: endsWithPath(ENDPOINT_PATHS.files), method: "POST", answer: embedFiles, failure: errorJson },
  { path: endsWithPath(ENDPOINT_PATHS.texts), method: "POST", answer: embedTexts, failure: errorJson },
  { path: endsWithPath(ENDPOINT_PATHS.openAi), method: "POST", answer: embedForOpenAi, failure: openAiError },
  { path: endsWithPath(ENDPOINT_PATHS.models), method: "GET", answer: listModels, failure: openAiError },
  { path: endsWithPath(ENDPOINT_PATHS.model), method: "GET", answer: retrieveModel, failure: openAiError },
];

/**
 * Lets this page answer requests to `api/predict/file/…`, `api/predict/nlp/…`, `v1/embeddings` and `v1/models` in the
 * folder of the service worker sw.js, which the page has registered. From then on `fetch` reaches them, from this page
 * and from others in that folder.
 * @param {EncoderSource} encoder
 * @param {EndpointOptions} [options]
 * @returns {Promise<() => void>} a function that stops answering. Rejects with `no_service_worker` if the page has none
 */
export async function serveEndpoint(encoder, options = {}) {
  const container = environment.serviceWorkers();
  const encoderNow = typeof encoder === "function" ? encoder : () => encoder;
  const listen = async (/** @type {MessageEvent} */ { data, ports: [port] }) => {
    if (!data?.endpoint || !port) return;
    port.postMessage("heard");
    port.postMessage(await replyTo(data.endpoint, encoderNow, options));
  };
  // Before anything is awaited: requests that came before the page listened are delivered now.
  container?.addEventListener("message", listen);
  container?.startMessages();
  try {
    if (!container || !(await container.getRegistration())) {
      throw new ClipError("no_service_worker", 'this page has no service worker to pass requests on: await navigator.serviceWorker.register("sw.js") first, on https or localhost');
    }
    await takeControl(container);
  } catch (error) {
    container?.removeEventListener("message", listen);
    throw error;
  }
  return () => container.removeEventListener("message", listen);
}

/**
 * Whether a page answers requests to a URL, if a service worker passes them on.
 * @param {string} url
 */
export function isEndpoint(url) {
  const { origin, pathname } = new URL(url);
  return origin === location.origin && INTERFACES.some(({ path }) => path.test(pathname));
}

/**
 * Answers one request from any source.
 * @param {Request} request
 * @param {ClipEncoder} encoder
 * @param {EndpointOptions} [options]
 * @returns {Promise<Response>} JSON, for errors too. It never rejects
 */
export async function answerRequest(request, encoder, options = {}) {
  const { pathname } = new URL(request.url);
  const { method, answer, failure } = INTERFACES.find(({ path }) => path.test(pathname)) ?? { method: request.method, answer: refusePath, failure: errorJson };
  const headers = { "cache-control": "no-store" };
  try {
    if (request.method !== method) throw new ClipError("method_not_allowed", `${request.method} is not answered here: use ${method}`, { statusCode: 405 });
    return Response.json(await answer(request, encoder, options), { headers });
  } catch (error) {
    options.onError?.(error);
    const { status_code: status } = errorJson(error);
    return Response.json(failure(error), { status, headers: status === 405 ? { ...headers, allow: method } : headers });
  }
}

/**
 * @param {PassedRequest} passed
 * @param {() => ClipEncoder | null | Promise<ClipEncoder | null>} encoderNow
 * @param {EndpointOptions} options
 * @returns {Promise<{ status: number, headers: [string, string][], body: string } | null>}
 */
async function replyTo({ url, method, contentType, body }, encoderNow, options) {
  try {
    const encoder = await encoderNow();
    if (!encoder) return null;
    /** @type {Record<string, string>} */
    const headers = contentType === null ? {} : { "content-type": contentType };
    const bodiless = method === "GET" || method === "HEAD";
    const request = new Request(url, { method, headers, body: bodiless ? null : body });
    const response = await answerRequest(request, encoder, options);
    return { status: response.status, headers: [...response.headers], body: await response.text() };
  } catch (error) {
    options.onError?.(error);
    return null; // getting the encoder failed, which is the same as having none
  }
}

/**
 * On the first visit the service worker starts after the page, and would pass no requests on. This makes it take
 * control.
 * @param {ServiceWorkerContainer} container
 */
async function takeControl(container) {
  const { active } = await container.ready;
  const { port1, port2 } = new MessageChannel();
  await new Promise((resolve) => {
    port1.onmessage = resolve;
    active?.postMessage({ method: "serve" }, [port2]);
  });
  port1.close();
}

/** @returns {Promise<never>} */
async function refusePath() {
  throw new ClipError("not_found", "there is no endpoint at this path: the README lists the paths", { statusCode: 404 });
}

/**
 * The body is `multipart/form-data`; each field `predict_file` is an image.
 * @param {Request} request
 * @param {ClipEncoder} encoder
 * @returns {Promise<Embeddings>}
 */
async function embedFiles(request, encoder) {
  requireType(request, "multipart/form-data");
  const form = await request.formData().catch((cause) => {
    throw new ClipError("invalid_input", "the body is not multipart/form-data with the boundary that its Content-Type names", { cause });
  });
  const images = form.getAll("predict_file");
  if (images.length === 0) throw new ClipError("empty_input", "the form has no field predict_file: put the image there, as a file");
  return encoder.embedImage(
    images.map((image, index) => {
      if (typeof image === "string") throw errorOfInput(new ClipError("invalid_input", "predict_file is text, not a file: give it a file name"), index, images.length);
      return image;
    }),
  );
}

/**
 * The body is `{"inputs": [text, …]}`.
 * @param {Request} request
 * @param {ClipEncoder} encoder
 * @returns {Promise<Embeddings>}
 */
async function embedTexts(request, encoder) {
  const { inputs } = await readJson(request);
  if (inputs === undefined) throw new ClipError("invalid_input", 'inputs is missing: send {"inputs": ["a text"]}');
  if (!Array.isArray(inputs)) throw new ClipError("invalid_input", "inputs is not a list of texts");
  return encoder.embedText(inputs);
}

/**
 * @param {Request} request
 * @param {ClipEncoder} encoder
 * @param {EndpointOptions} options
 */
async function embedForOpenAi(request, encoder, { fetchImages = environment.fetchesImages }) {
  const { model, input, encoding_format: format = "float", dimensions } = await readJson(request);
  if (model !== undefined && typeof model !== "string") throw new FieldError("model", "model is not a string");
  if (format !== "float" && format !== "base64") throw new FieldError("encoding_format", 'encoding_format is neither "float" nor "base64"');
  const { embeddingDimension } = encoder.info;
  if (dimensions !== undefined && dimensions !== embeddingDimension) {
    throw new FieldError("dimensions", `dimensions must be ${embeddingDimension}: the vectors of this model cannot be shortened`);
  }
  const { vectors, tokens } = await embedMixed(inputsOf(input, fetchImages), encoder);
  const form = format === "base64" ? base64Of : (/** @type {number[]} */ vector) => vector;
  return {
    object: "list",
    data: vectors.map((vector, index) => ({ object: "embedding", index, embedding: form(vector) })),
    model: nameOf(encoder),
    usage: { prompt_tokens: tokens, total_tokens: tokens },
  };
}

/**
 * @param {Request} _request
 * @param {ClipEncoder} encoder
 */
async function listModels(_request, encoder) {
  return { object: "list", data: [modelOf(encoder)] };
}

/**
 * @param {Request} request
 * @param {ClipEncoder} encoder
 */
async function retrieveModel(request, encoder) {
  const [, written = ""] = /\/v1\/models\/([^/]+)\/?$/.exec(new URL(request.url).pathname) ?? [];
  const name = nameOf(encoder);
  if ([name, encodeURIComponent(name), encodeURI(name)].includes(written)) return modelOf(encoder);
  throw new FieldError("model", `there is no model ${written} here: the only one is ${name}`, "model_not_found");
}

/** @param {ClipEncoder} encoder */
function modelOf(encoder) {
  return { id: nameOf(encoder), object: "model", created: 0, owned_by: "clip-wasm" };
}

/** @param {ClipEncoder} encoder */
function nameOf({ info }) {
  return info.name ?? "CLIP";
}

/**
 * @param {Input[]} inputs
 * @param {ClipEncoder} encoder
 * @returns {Promise<{ vectors: number[][], tokens: number }>} the vectors in the order of the inputs, and the number of
 *   the texts' tokens
 */
async function embedMixed(inputs, encoder) {
  const texts = inputs.flatMap((input) => ("text" in input ? [input.text] : []));
  const images = inputs.flatMap((input) => ("image" in input ? [input.image] : []));
  const ofTexts = texts.length ? (await numbered(encoder.embedText(texts), "text", inputs)).data : [];
  const ofImages = images.length ? (await numbered(encoder.embedImage(images), "image", inputs)).data : [];
  const tokenized = texts.length ? await encoder.tokenize(texts) : [];
  const [nextText, nextImage] = [ofTexts.values(), ofImages.values()];
  return {
    vectors: inputs.map((input) => /** @type {number[]} */ (("image" in input ? nextImage : nextText).next().value)),
    tokens: tokenized.reduce((sum, { ids }) => sum + ids.length, 0),
  };
}

/**
 * @template T
 * @param {Promise<T>} embedding of all inputs of a kind
 * @param {"text" | "image"} kind
 * @param {Input[]} inputs
 * @returns {Promise<T>} rejects with an error that has the number that its input has among all
 */
async function numbered(embedding, kind, inputs) {
  try {
    return await embedding;
  } catch (error) {
    if (!(error instanceof ClipError) || error.index === undefined) throw error;
    const index = [...inputs.keys()].filter((index) => kind in /** @type {Input} */ (inputs[index]))[error.index];
    throw errorOfInput(error, Number(index), inputs.length);
  }
}

/**
 * @param {number[]} vector
 * @returns {string} its components as f32, little-endian, in base64
 */
function base64Of(vector) {
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  for (const [index, value] of vector.entries()) view.setFloat32(4 * index, value, true);
  return btoa(String.fromCharCode(...new Uint8Array(view.buffer)));
}

/**
 * @param {unknown} error
 * @returns {{ error: { message: string, type: string, param: string | null, code: string } }}
 */
function openAiError(error) {
  const { error: { code, message }, status_code: status } = errorJson(error);
  const type = status < 500 ? "invalid_request_error" : "server_error";
  return { error: { message, type, param: error instanceof FieldError ? error.field : null, code } };
}

/**
 * @param {Request} request
 * @returns {Promise<Record<string, unknown>>}
 */
async function readJson(request) {
  requireType(request, "application/json");
  /** @type {unknown} */
  let json;
  try {
    json = JSON.parse(await request.text());
  } catch (cause) {
    throw new ClipError("invalid_input", `the body is not JSON: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new ClipError("invalid_input", "the body is JSON, but not an object");
  // Many clients write fields that are not set as null.
  return Object.fromEntries(Object.entries(json).filter(([, value]) => value !== null));
}

/**
 * @param {Request} request
 * @param {string} type
 */
function requireType(request, type) {
  const given = request.headers.get("content-type");
  if (given?.split(";")[0]?.trim().toLowerCase() === type) return;
  throw new ClipError("unsupported_media_type", `the body must be ${type}, but its Content-Type is ${given ?? "missing"}`, { statusCode: 415 });
}
