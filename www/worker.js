// Owns the wasm module and one model; turns a message into a call on it.
//   {id, method, params} -> {id, progress}* -> {id, result} | {id, error: {code, message, statusCode}}

import { decodeInBrowser } from "./decode.js";
import { ClipError } from "./error.js";
import { startModule } from "./module.js";
import { Weights } from "./weights.js";

/** @import { ClipEncoder, ModelInfo } from "./pkg/simd128/clip_wasm.js" */
/** @import { ErrorMessage } from "./error.js" */
/** @import { Module } from "./module.js" */
/** @import { Progress } from "./weights.js" */

/** @typedef {{ source: string | Blob, size?: number, threads: number }} LoadParams */
/** @typedef {{ info: ModelInfo, threads: number, memory: number }} Loaded `memory` in bytes */

/**
 * @typedef {object} Methods what the worker can be asked
 * @property {(params: LoadParams, progress: (progress: Progress) => void) => Promise<Loaded>} load
 * @property {(params: { text: string, normalize: boolean }) => Float32Array} embedText
 * @property {(params: { image: Blob | Uint8Array, normalize: boolean }) => Promise<Float32Array>} embedImage
 */

/** @type {ClipEncoder} set by `load`, which comes before every other message */
let encoder;

/** @type {Methods} */
const methods = {
  async load({ source, size, threads }, onProgress) {
    const weights = await Weights.open(source, size);
    const module = await openModule(threads, weights.total);
    const loader = new module.bindings.ModelLoader();
    for await (const chunk of weights.chunks(onProgress)) loader.push(chunk);
    try {
      encoder = loader.finish();
    } catch (error) {
      throw weights.shortfall() ?? error;
    }
    return { info: encoder.info, threads: await module.threads(), memory: module.memory.buffer.byteLength };
  },

  embedText({ text, normalize }) {
    return encoder.embedText(text, normalize);
  },

  async embedImage({ image, normalize }) {
    const bytes = image instanceof Blob ? await readBlob(image) : image;
    try {
      return encoder.embedImage(bytes, normalize);
    } catch (error) {
      if (codeOf(error) !== "unsupported_image") throw error;
      const pixels = await decodeInBrowser(new Blob([/** @type {BlobPart} */ (bytes)]));
      if (!pixels) throw error;
      return encoder.embedPixels(pixels, normalize);
    }
  },
};

self.addEventListener("message", async ({ data: { id, method, params } }) => {
  try {
    const result = await methods[/** @type {keyof Methods} */ (method)](
      params,
      (/** @type {Progress} */ progress) => self.postMessage({ id, progress }),
    );
    const transfer = result instanceof Float32Array ? [result.buffer] : [];
    self.postMessage({ id, result }, { transfer });
  } catch (error) {
    self.postMessage({ id, error: errorMessage(error) });
  }
});

/**
 * @param {number} threads
 * @param {number | null} fileSize
 * @returns {Promise<Module>}
 */
async function openModule(threads, fileSize) {
  try {
    return await startModule(threads, fileSize);
  } catch (cause) {
    throw new ClipError("worker_failed", `the WebAssembly module does not start: ${cause}`);
  }
}

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array>}
 */
async function readBlob(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const name = blob instanceof File ? blob.name : "the image";
    throw new ClipError("io", `${name} cannot be read: has it been moved or changed?`, { cause });
  }
}

/**
 * The code of an error of ours or of the wasm module's.
 * @param {unknown} error
 * @returns {string | null}
 */
function codeOf(error) {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}

/**
 * An error without a code of ours came out of the machinery: a wasm trap, after which the memory of
 * the instance can no longer be trusted, or a bug here. Either way this worker is done for.
 * @param {unknown} error
 * @returns {ErrorMessage}
 */
function errorMessage(error) {
  const code = codeOf(error);
  if (code === null) {
    return {
      code: "worker_failed",
      message: `the encoder stopped (${error}), perhaps for want of memory; load the model again`,
      statusCode: 500,
    };
  }
  const { message, statusCode } = /** @type {Error & { statusCode: number }} */ (error);
  return { code, message, statusCode };
}
