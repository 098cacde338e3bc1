// Checkpoints as Hugging Face and open_clip publish them: which files they are made of, and their conversion, as
// the bytes come, to the GGUF that is loaded and kept.

import { isIndexName, isWeightsName, KINDS } from "../shared/weight-file-names.js";
import { download, readBody } from "../shared/download.js";
import { ClipError } from "../shared/error.js";
import { checkLimit, limitsOf, requireRoom } from "../shared/limits.js";
import { Meter, refuseTooLarge } from "./load-gguf.js";
import { openWeights } from "../weights/sources.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Keeper } from "../store/local-copy.js" */
/** @import { LimitOptions } from "../shared/limits.js" */
/** @import { Progress, Tower } from "./load-gguf.js" */
/** @import { Module } from "../engine/start-wasm.js" */
/** @import { Weights, WeightsOptions } from "../weights/sources.js" */

/**
 * @typedef {object} Checkpoint
 * @property {Weights[]} files of weights; several where they are sharded
 * @property {number | null} size bytes of all of them, `null` where nobody tells
 * @property {{ name: string, config?: string, openClipConfig?: string, preprocessorConfig?: string, processorConfig?: string, tokenizer?: string, modelCard?: string, index?: string }} companions
 *   the texts of the files beside them
 */

/**
 * @typedef {object} ConversionOptions
 * @property {string} type of the weights, such as `q8_0`
 * @property {"gelu" | "quick_gelu" | undefined} activation
 * @property {Tower[] | undefined} towers those to be loaded; all are converted
 * @property {string | undefined} sha256 of the weights' one file
 * @property {boolean} ignoreMemory
 * @property {LimitOptions} limits
 * @property {boolean} goesOn whether what is kept of an earlier conversion is part of this one
 * @property {(header: { weightsSize: number, fileSize: number }) => void} onHeader
 * @property {(progress: Progress) => void} onProgress
 * @property {AbortSignal} signal
 */

/** What stands beside the weights, by the name that the converter has for it; of two names the first that is there. */
const COMPANIONS = /** @type {const} */ ({
  config: ["config.json"],
  openClipConfig: ["open_clip_config.json"],
  preprocessorConfig: ["preprocessor_config.json"],
  processorConfig: ["processor_config.json"],
  tokenizer: ["tokenizer.json", "vocab.json"],
  modelCard: ["README.md"],
});
/** Milliseconds after which another note is taken of what is kept of the GGUF. */
const NOTE_EVERY = 300;

/**
 * @param {string | Blob | File[]} source
 * @returns {source is string | File[]}
 */
export function isCheckpoint(source) {
  if (Array.isArray(source)) return true;
  if (typeof source !== "string") return false;
  const { pathname } = new URL(source);
  return isWeightsName(pathname) || isIndexName(pathname);
}

/** Of what a conversion makes. What an earlier version has kept is made anew: its images may be prepared wrongly. */
export const CONVERSION = 2;

/**
 * What a converted checkpoint is kept under.
 * @param {string} url
 * @param {{ type: string, activation?: string }} options
 */
export function checkpointKey(url, { type, activation }) {
  return `${url}#${[type, activation].filter(Boolean).join("-")}`;
}

/**
 * @param {string | File[]} source the URL of the weights or of their index, or files
 * @param {WeightsOptions} options
 * @param {(string | null)[]} etags of the files of an earlier conversion, which is to go on
 * @returns {Promise<Checkpoint>}
 */
export async function openCheckpoint(source, options, etags) {
  return typeof source === "string" ? openUrl(source, options, etags) : openFiles(source, options);
}

/**
 * @param {string} url
 * @param {WeightsOptions} options
 * @param {(string | null)[]} etags
 * @returns {Promise<Checkpoint>}
 */
async function openUrl(url, options, etags) {
  /** @type {Checkpoint["companions"]} */
  const companions = { name: nameOf(url) };
  const texts = Object.entries(COMPANIONS).map(async ([key, names]) => {
    for (const name of names) {
      const text = await optionalText(new URL(name, url).href, options);
      if (text === null) continue;
      companions[/** @type {keyof typeof COMPANIONS} */ (key)] = text;
      return;
    }
  });
  await Promise.all(texts);
  let urls = [url];
  let size = null;
  if (isIndexName(new URL(url).pathname)) {
    companions.index = await downloadText(url, options);
    const index = parseIndex(companions.index, url);
    checkLimit("files", index.files.length, `files of ${url}`, options.limits);
    urls = index.files.map((name) => new URL(name, url).href);
    size = index.size;
  }
  const files = urls.map((url, i) =>
    openWeights(url, { ...options, keep: false, mirrors: urls.length === 1 ? options.mirrors : [], etag: etags[i] ?? null }),
  );
  return { files: await Promise.all(files), size, companions };
}

/**
 * @param {File[]} files
 * @param {WeightsOptions} options
 * @returns {Promise<Checkpoint>}
 */
async function openFiles(files, options) {
  const kind = KINDS.find(({ weights }) => files.some(({ name }) => weights.test(name)));
  const weights = files.filter(({ name }) => kind?.weights.test(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const first = weights[0];
  if (!first) {
    throw new ClipError("not_a_model", "none of the files is a .safetensors or a pytorch_model.bin: choose the weights with the files beside them");
  }
  const folder = first.webkitRelativePath.split("/").at(-2);
  /** @type {Checkpoint["companions"]} */
  const companions = { name: folder ?? first.name.replace(/\.\w+$/, "") };
  checkLimit("files", weights.length, "the files of weights", options.limits);
  const read = async (/** @type {string} */ wanted) => {
    const file = files.find(({ name }) => name === wanted);
    if (file) checkLimit("jsonBytes", file.size, `bytes of ${wanted}`, options.limits);
    return file?.text();
  };
  for (const [key, names] of Object.entries(COMPANIONS)) {
    const text = (await Promise.all(names.map(read))).find((text) => text !== undefined);
    if (text !== undefined) companions[/** @type {keyof typeof COMPANIONS} */ (key)] = text;
  }
  const index = files.find(({ name }) => kind?.index.test(name));
  if (index) companions.index = await read(index.name);
  const size = weights.reduce((sum, file) => sum + file.size, 0);
  return { files: await Promise.all(weights.map((file) => openWeights(file, options))), size, companions };
}

/**
 * Converts and loads in one go. What an earlier conversion has kept is not fetched again.
 * @param {Module} module
 * @param {Checkpoint} checkpoint
 * @param {Keeper} keeper of the GGUF
 * @param {ConversionOptions} options
 * @returns {Promise<ClipEncoder>}
 */
export async function loadCheckpoint(module, { files, size, companions }, keeper, options) {
  const { type, activation, towers, sha256, ignoreMemory, limits, goesOn, onHeader, onProgress, signal } = options;
  const all = limitsOf(module.bindings, limits);
  const converter = new module.bindings.CheckpointConverter(companions, type, all, activation);
  const loader = new module.bindings.ModelLoader(all, towers);
  const meter = new Meter(onProgress);
  const hash = sha256 === undefined ? null : new module.bindings.Sha256();
  const resumed = goesOn ? keeper.parts() : [];
  converter.keep(Float64Array.from(resumed));
  meter.total = size;
  meter.tell();

  const describe = () => ({
    size: converter.fileSize ?? null,
    conversion: { version: CONVERSION, done: keeper.parts(), etags: files.map(({ etag = null }) => etag) },
  });
  let noted = -Infinity;
  let replaces = !goesOn;
  const push = async (/** @type {Uint8Array} */ bytes) => {
    signal.throwIfAborted();
    /** @type {[number, Uint8Array][]} */
    const made = [];
    requireRoom(module.bindings, bytes.length);
    converter.push(bytes, (offset, bytes) => void made.push([offset, bytes]));
    // What was kept before is left until there is something in its place.
    if (replaces && made.length > 0) {
      replaces = false;
      await keeper.restart();
    }
    for (const [offset, bytes] of made) {
      loader.seek(offset);
      requireRoom(module.bindings, bytes.length);
      loader.push(bytes);
      await keeper.write(offset, bytes, describe);
    }
    meter.add(bytes.length);
    if (made.length === 0 || performance.now() - noted < NOTE_EVERY) return;
    noted = performance.now();
    await keeper.change((about) => ({ ...about, ...describe() }));
  };

  let begun = false;
  for (const file of files) {
    let position = 0;
    while (converter.sourceSize === undefined) {
      // The scale of the logits may stand anywhere, and is needed first.
      const apart = converter.wanted();
      const [from, to] = apart ? [Number(apart[0]), Number(apart[1])] : [position, Infinity];
      if (apart) converter.seek(from);
      const bytes = await file.read(from, to);
      if (!bytes) break;
      if (!apart) {
        hash?.update(bytes);
        position += bytes.length;
      }
      await push(bytes);
    }
    if (!begun && loader.residentSize !== undefined) {
      begun = true;
      if (!ignoreMemory) refuseTooLarge(loader.residentSize);
      onHeader({ weightsSize: loader.residentSize, fileSize: Number(converter.fileSize) });
      for (let i = 0; i < resumed.length; i += 2) await giveKept(keeper, loader, Number(resumed[i]), Number(resumed[i + 1]));
    }
    // To the end for the hash, which behind the last tensor only the file itself tells.
    const wanted = hash ? [position, Infinity] : [...(converter.wanted() ?? [])];
    const left = wanted.reduce((sum, place, i) => sum + (i % 2 ? place : -place), 0);
    if (files.length === 1) meter.total = left < Infinity ? meter.loaded + left : (file.size ?? converter.sourceSize ?? null);
    for (let i = 0; i < wanted.length; i += 2) {
      const [from, to] = /** @type {[number, number]} */ ([wanted[i], wanted[i + 1]]);
      if (position !== from) converter.seek((position = from));
      while (position < to) {
        const bytes = await file.read(position, to);
        if (!bytes) break;
        hash?.update(bytes);
        position += bytes.length;
        await push(bytes);
      }
    }
    converter.endFile();
  }
  const description = describe();
  converter.finish();
  const found = hash?.finish();
  if (found !== sha256) {
    throw new ClipError("corrupt_model", `${files[0]?.name} is damaged: its SHA-256 is ${found} where ${sha256} is expected; load it again`);
  }
  await keeper.change((about) => ({ ...about, ...description, sha256: sha256 ?? null }));
  await keeper.complete(undefined);
  return loader.finish();
}

/**
 * @param {Keeper} keeper
 * @param {{ seek: (position: number) => void, push: (bytes: Uint8Array) => void }} loader
 * @param {number} from
 * @param {number} to
 */
async function giveKept(keeper, loader, from, to) {
  loader.seek(from);
  for (let position = from; position < to; ) {
    const bytes = await keeper.read(position, Math.min(to, position + (1 << 20)));
    if (!bytes) throw new ClipError("io", "what was kept of the model cannot be read; load it again");
    loader.push(bytes);
    position += bytes.length;
  }
}

/**
 * @param {string} url
 * @returns {string} the repository's name on the Hub, the folder's elsewhere
 */
function nameOf(url) {
  const parts = new URL(url).pathname.split("/").map(decoded);
  const resolve = parts.lastIndexOf("resolve");
  return String((resolve > 0 ? parts[resolve - 1] : parts.at(-2)) ?? "");
}

/**
 * @param {string} part of an address
 * @returns {string} as it is where its percent signs encode nothing
 */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * @param {string} url
 * @param {WeightsOptions} options
 * @returns {Promise<string | null>} `null` where there is no such file
 */
async function optionalText(url, options) {
  try {
    return await downloadText(url, options);
  } catch (error) {
    if (error instanceof ClipError && ["http_status", "io"].includes(error.code)) return null;
    throw error;
  }
}

/**
 * @param {string} url
 * @param {Pick<WeightsOptions, "signal" | "limits">} options
 */
async function downloadText(url, { signal, limits }) {
  const check = (/** @type {number} */ bytes) => checkLimit("jsonBytes", bytes, `bytes of ${url}`, limits);
  return (await readBody(await download(url, { signal }), url, check, signal)).text();
}

/**
 * @param {unknown} name
 * @param {string} url
 * @returns {boolean} whether it names a file of the same folder: `..`, `//host` and `http:host` do not. Fails where it
 *   makes no address
 */
function isBeside(name, url) {
  if (typeof name !== "string" || !isWeightsName(name)) return false;
  const { href, search, hash } = new URL(name, url);
  const folder = new URL(".", url).href;
  return href.startsWith(folder) && search === "" && hash === "" && !/[/\\]/.test(href.slice(folder.length));
}

/**
 * @param {string} text of model.safetensors.index.json or pytorch_model.bin.index.json
 * @param {string} url
 * @returns {{ files: string[], size: number | null }}
 */
function parseIndex(text, url) {
  try {
    const { weight_map, metadata } = JSON.parse(text);
    const files = [...new Set(Object.values(/** @type {Record<string, string>} */ (weight_map)))].sort();
    if (files.length > 0 && files.every((name) => isBeside(name, url))) {
      return { files, size: typeof metadata?.total_size === "number" ? metadata.total_size : null };
    }
  } catch {
    // Said below.
  }
  throw new ClipError("malformed_model", `${url} names no files beside it; use another checkpoint`);
}
