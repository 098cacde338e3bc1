// The options of the public methods: types, defaults and checks.

import { TYPES } from "./hub-files.js";
import { absoluteUrl, requireChoice, requireOptions, requireTowers } from "./inputs.js";
import { accessOf, locateModel } from "./model-source.js";
import { environment } from "../shared/environment.js";
import { abortedError, ClipError } from "../shared/error.js";
import { requireLimits } from "../shared/limits.js";

/** @import { Kept, ModelSource } from "./model-source.js" */
/** @import { ImageTimings } from "./timings.js" */
/** @import { LimitOptions, LoadParams, Progress, Tower, Warning } from "../shared/protocol.js" */

/**
 * @typedef {object} LoadOptions
 * @property {Tower[]} [towers] the towers to load, such as `["text"]` if only texts will be embedded. If the server
 *   supports range requests, the rest of the file is not fetched, unless a checkpoint's `sha256` needs it. By default,
 *   both, or those that the file has
 * @property {Tower} [first] the tower to load first if both are loaded: `load` resolves as soon as this tower is ready.
 *   The other one continues to load, and calls that need it wait; {@link ClipEncoder.loaded} settles when it is done
 * @property {string} [type] that a checkpoint is converted to: `q8_0` by default, or f32, f16, q5_1, q5_0, q4_1, q4_0.
 *   Of a model on the Hub that has several GGUF files, the one of this type is loaded
 * @property {string} [revision] of a model on the Hub: a branch, a tag or a commit; `main` by default
 * @property {string} [token] of an account on the Hub, for private and gated models. It is sent to `host` alone, and not
 *   stored
 * @property {string} [host] of the models that are given by name: `https://huggingface.co` by default, or a mirror of it
 * @property {"gelu" | "quick_gelu"} [activation] of a checkpoint, if its configuration does not give it or is wrong
 * @property {number} [size] bytes of the file, for progress if the server does not send the size
 * @property {string} [sha256] of the file, in hexadecimal. A file with another hash is refused with `corrupt_model` and
 *   not stored
 * @property {(string | URL)[]} [mirrors] further URLs of the same file, each tried when the one before fails
 * @property {boolean} [keep] whether to store what is loaded from a URL for the next visit. By default, yes, except in
 *   Node and on a page opened from a disk
 * @property {number} [idleTimeout] milliseconds without a byte after which a connection is closed and opened again;
 *   20 000 by default
 * @property {"auto" | "wasm" | "webgpu"} [device] what computes. `auto`, the default, takes the GPU if it computes right
 *   and is faster here; `wasm` is the processor. `webgpu` takes the GPU even if it is slower, but not if it computes wrong
 *   numbers. If the processor computes although there is a GPU, a warning says why (`not_on_gpu`);
 *   {@link ClipEncoder.device} says what computes
 * @property {boolean} [ignoreMemory] whether to load a model that this device probably has too little memory for
 * @property {boolean} [worker] with `false`, no worker is started: this context computes, on one thread, and is busy
 *   meanwhile. That is the default of `clip-wasm/in-place.js`, which is for service workers and the like; other pages can
 *   only use it after that file is imported
 * @property {string | URL} [libraryUrl] of a folder with the files of this package, unchanged, for pages whose bundler
 *   does not find workers by itself
 * @property {LimitOptions} [limits] limits that differ from the defaults, for the model and for every image and text,
 *   such as `{ pixels: 200_000_000 }`. docs/limits.md lists them. A call that exceeds one rejects with
 *   `image_too_large` or `limit_exceeded`
 * @property {(progress: Progress) => void} [onProgress] called with the progress of the load
 * @property {(warning: Warning) => void} [onWarning] called when something went wrong although the model works: it is
 *   not stored (`not_kept`), its worker had to be replaced (`worker_replaced`), or a GPU is not used (`not_on_gpu`), which
 *   can happen as long as the encoder exists. By default, warnings are printed to the console
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} EmbedOptions
 * @property {boolean} [normalize] whether vectors are scaled to unit length (L2). `true` by default; `false` gives the
 *   raw projection
 * @property {(progress: EmbedProgress) => void} [onProgress] called after each input
 * @property {AbortSignal} [signal]
 */

/** @typedef {{ done: number, total: number }} EmbedProgress in inputs */

/**
 * @template Timings
 * @typedef {object} TimingsOption
 * @property {(timings: Timings) => void} [onTimings] called once for each input, with where its time went; not for an
 *   input that fails. Without it, nothing is reported and nothing takes longer
 */

/**
 * Choices on which the reference implementations disagree. The defaults are those of Pillow's `convert("RGB")` and
 * transformers' `load_image`.
 * @typedef {object} ImageOptions
 * @property {"exif" | "ignore"} [orientation] whether an image is rotated as its EXIF or XMP says, which is the
 *   default, or used as it is stored. A TIFF is always rotated
 * @property {"drop" | "white" | "black"} [alpha] what happens to transparency: it is dropped, which is the default, so
 *   that the colour of transparent pixels shows, or the image is placed on white or black
 */

/**
 * @typedef {object} ClassifyOptions
 * @property {string | string[] | null} [template] the text of a label, with `{}` in the label's place: "a photo of a
 *   {}" by default. Of several templates, the mean of their vectors is used. With `null`, the labels are whole texts
 * @property {number} [logitScale] factor for the cosines before the softmax, or of a SigLIP the sigmoid; the model's own by
 *   default
 * @property {(progress: EmbedProgress) => void} [onProgress] called after each text and each image
 * @property {AbortSignal} [signal]
 */

/** With more threads, slow or busy cores and the parts that cannot be shared outweigh the gain. */
const DEFAULT_THREADS = 8;
/** As on the command line. */
const MOST_THREADS = 256;

function defaultThreads() {
  return Math.min(environment.cores(), DEFAULT_THREADS);
}

/**
 * The parameters of a load, checked and with their defaults.
 * @param {ModelSource} source
 * @param {LoadOptions & { threads?: number }} options
 * @param {() => Promise<Kept[]>} keptModels
 * @returns {Promise<LoadParams>}
 */
export async function loadParams(source, options, keptModels) {
  const { threads = defaultThreads(), type = "q8_0", activation, towers, first, size, sha256, mirrors = [], keep = environment.keeps(), idleTimeout = 20_000, ignoreMemory = false, device = "auto", libraryUrl, worker = environment.worker, signal } = requireOptions(options);
  if (!Number.isInteger(threads) || threads < 1 || threads > MOST_THREADS) {
    throw new ClipError("invalid_input", `threads is ${threads}; it must be a whole number from 1 to ${MOST_THREADS}`);
  }
  const weights = typeof type === "string" ? type.toLowerCase() : type;
  requireChoice("type", weights, [...TYPES, "bf16"]);
  requireChoice("device", device, ["auto", "wasm", "webgpu"]);
  if (towers !== undefined) requireTowers(towers);
  if (first !== undefined) requireTowers([first]);
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new ClipError("invalid_input", "sha256 is not 64 hexadecimal digits");
  }
  const limits = requireLimits(options.limits ?? {});
  const access = accessOf(options);
  const located = await locateModel(source, { ...options, access, limits }, keptModels);
  if (signal?.aborted) throw abortedError(signal);
  return {
    source: located.source,
    access,
    inPlace: !worker,
    libraryUrl: libraryUrl === undefined ? undefined : absoluteUrl(libraryUrl).replace(/\/?$/, "/"),
    threads: worker ? threads : 1,
    type: weights,
    activation,
    towers,
    first,
    size: size ?? located.size,
    sha256: sha256?.toLowerCase(),
    mirrors: mirrors.map(absoluteUrl),
    keep: keep && typeof located.source === "string",
    idleTimeout,
    device,
    ignoreMemory,
    limits,
  };
}

/**
 * The options for reading and embedding an image, checked and with their defaults.
 * @param {EmbedOptions & ImageOptions & TimingsOption<ImageTimings>} options
 */
export function imageParams(options) {
  const { normalize = true, orientation = "exif", alpha = "drop", onTimings, signal } = requireOptions(options);
  requireChoice("orientation", orientation, ["exif", "ignore"]);
  requireChoice("alpha", alpha, ["drop", "white", "black"]);
  return { normalize, orientation, alpha, onTimings, signal };
}

/**
 * What is done with a warning unless the caller wants it.
 * @param {Warning} warning
 */
export function printWarning({ message }) {
  console.warn(`clip-wasm: ${message}`);
}
