// The files of a checkpoint as Hugging Face and open_clip publish them: the weights, which are read as a stream, and
// the text files beside them.

import { openWeights } from "./sources.js";
import { download, isTransient, readBody, statusOf } from "../shared/download.js";
import { ClipError } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";
import { isIndexName, isWeightsName, KINDS } from "../shared/weight-file-names.js";

/** @import { Weights, WeightsOptions } from "./sources.js" */

/**
 * @typedef {object} Checkpoint
 * @property {Weights[]} files of weights; several where they are sharded
 * @property {number | null} size bytes of all of them, `null` if it is not known
 * @property {{ name: string, config?: string, openClipConfig?: string, preprocessorConfig?: string, processorConfig?: string, tokenizer?: string, modelCard?: string, index?: string }} companions
 *   the contents of the files beside the weights
 */

/**
 * The files beside the weights, by the converter's names for them. Of two file names, the first that exists is used.
 */
const COMPANIONS = /** @type {const} */ ({
  config: ["config.json"],
  openClipConfig: ["open_clip_config.json"],
  preprocessorConfig: ["preprocessor_config.json"],
  processorConfig: ["processor_config.json"],
  tokenizer: ["tokenizer.json", "vocab.json"],
  modelCard: ["README.md"],
});
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

/**
 * @param {string | File[]} source the URL of the weights or of their index, or files
 * @param {WeightsOptions} options
 * @param {(string | null)[]} etags of the files of an earlier conversion that is to be continued
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
    throw new ClipError("not_a_model", "none of the files is a .safetensors or a pytorch_model.bin: choose the weights together with the files beside them");
  }
  const folder = first.webkitRelativePath.split("/").at(-2);
  /** @type {Checkpoint["companions"]} */
  const companions = { name: folder ?? first.name.replace(/\.\w+$/, "") };
  checkLimit("files", weights.length, "files of weights", options.limits);
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
 * @param {string} url
 * @returns {string} on the Hub, the name of the repository; elsewhere, the name of the folder
 */
function nameOf(url) {
  const parts = new URL(url).pathname.split("/").map(decoded);
  const resolve = parts.lastIndexOf("resolve");
  return String((resolve > 0 ? parts[resolve - 1] : parts.at(-2)) ?? "");
}

/**
 * @param {string} part of a URL
 * @returns {string} unchanged if its percent signs encode nothing
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
 * @returns {Promise<string | null>} `null` if there is no such file
 */
async function optionalText(url, options) {
  try {
    return await downloadText(url, options);
  } catch (error) {
    if (error instanceof ClipError && ["http_status", "io"].includes(error.code) && !isTransient(statusOf(error))) return null;
    throw error;
  }
}

/**
 * @param {string} url
 * @param {Pick<WeightsOptions, "access" | "signal" | "limits">} options
 */
async function downloadText(url, { access, signal, limits }) {
  const check = (/** @type {number} */ bytes) => checkLimit("jsonBytes", bytes, `bytes of ${url}`, limits);
  return (await readBody(await download(url, { access, signal }), url, check, signal)).text();
}

/**
 * @param {unknown} name
 * @param {string} url
 * @returns {boolean} whether it names a file of the same folder: `..`, `//host` and `http:host` do not. Throws if it is
 *   not a valid URL
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
    // The error is thrown below.
  }
  throw new ClipError("malformed_model", `${url} does not list weight files in its own folder; use another checkpoint`);
}
