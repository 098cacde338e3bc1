// What `ClipEncoder.load` is given -> what a worker loads: a URL, a file, or a checkpoint's files.

import { askHub } from "./hub-listing.js";
import { chooseFile, weightTypeOf } from "./hub-files.js";
import { absoluteUrl, requireList, typeOf } from "./inputs.js";
import { download } from "../shared/download.js";
import { environment } from "../shared/environment.js";
import { ClipError, codeOf } from "../shared/error.js";
import { fileUrl, folderUrl, HUB, hubModelOf, isAmbiguous, originOf } from "../shared/hub.js";
import { isBlob, isBytes, isFile, isUrl } from "../shared/kinds.js";
import { TOWERS } from "../shared/towers.js";
import { isWeightsName } from "../shared/weight-file-names.js";

/** @import { Access, HubModel } from "../shared/hub.js" */
/** @import { LimitOptions, Tower } from "../shared/protocol.js" */

/**
 * @typedef {string | URL | Blob | Uint8Array | ArrayBuffer | File[]} ModelSource
 */

/**
 * A model that an earlier load has stored.
 * @typedef {{ url: string, towers: Tower[], whole: boolean }} Kept
 */

/**
 * The options that decide which model is loaded: see LoadOptions.
 * @typedef {object} WhichModel
 * @property {string} [type]
 * @property {Tower[]} [towers]
 * @property {string} [revision]
 * @property {Access | null} access
 * @property {string} [host]
 * @property {boolean} [keep]
 * @property {AbortSignal} [signal]
 */

/**
 * @typedef {object} Located
 * @property {string | Blob | File[]} source a URL is absolute
 * @property {number} [size] bytes, as the Hub tells
 */

/**
 * @param {ModelSource} given
 * @param {WhichModel & { limits: LimitOptions }} options
 * @param {() => Promise<Kept[]>} keptModels
 * @returns {Promise<Located>}
 */
export async function locateModel(given, options, keptModels) {
  if (Array.isArray(given)) {
    requireList(given, isFile, "a File");
    return { source: given };
  }
  if (isFile(given) && isWeightsName(given.name)) return { source: [given] };
  if (isBytes(given)) return { source: new Blob([/** @type {BlobPart} */ (given)]) };
  if (isBlob(given)) return { source: await environment.sendable(given) };
  if (typeof given !== "string" && !isUrl(given)) throw new ClipError("invalid_input", `expected a URL, a name on the Hub or a file, but got ${typeOf(given)}`);
  const text = String(given);
  const model = hubModelOf(text, options);
  if (!model || (await isLocal(text, model, options, keptModels))) {
    const url = absoluteUrl(given);
    // A blob: URL belongs to the page: if the page was opened from a disk, not even its worker may read it.
    if (url.startsWith("blob:")) return { source: await (await download(url, { signal: options.signal })).blob() };
    return { source: url };
  }
  if (model.file !== null) return { source: fileUrl(model, model.file) };
  return locateOnHub(model, options, keptModels);
}

/**
 * The token of the options, for the host of the models.
 * @param {{ token?: string, host?: string }} options
 * @returns {Access | null}
 */
export function accessOf({ token, host = HUB }) {
  if (token === undefined) return null;
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token)) return { token, origin: originOf(host) };
  throw new ClipError("invalid_input", `token is ${typeof token === "string" ? "not a token: it has other characters than one can have" : typeOf(token)}`);
}

/**
 * Whether what looks like a name on the Hub is a file of this site, or in Node of this disk. As with transformers, what
 * is here comes first. A site has no folders, so `owner/name` is never its file.
 * @param {string} text
 * @param {HubModel} model
 * @param {WhichModel} options
 * @param {() => Promise<Kept[]>} keptModels
 */
async function isLocal(text, { file }, { revision, host }, keptModels) {
  if (revision !== undefined || host !== undefined || !isAmbiguous(text)) return false;
  const url = absoluteUrl(text);
  if (file === null && !url.startsWith("file:")) return false;
  return (await keptModels()).some((kept) => kept.url === url || kept.url.startsWith(`${url}#`)) || environment.has(url);
}

/**
 * @param {HubModel} model
 * @param {WhichModel & { limits: LimitOptions }} options
 * @param {() => Promise<Kept[]>} keptModels
 * @returns {Promise<Located>}
 */
async function locateOnHub(model, options, keptModels) {
  const { type, towers, access, limits, signal, keep = environment.keeps() } = options;
  const kept = keep ? keptFiles(model, towers, await keptModels()) : [];
  const wanted = type ?? "q8_0";
  const exact = kept.find((file) => file.type === wanted);
  if (exact) return { source: fileUrl(model, exact.path) };
  let repository;
  try {
    repository = await askHub(model, access, limits, signal);
  } catch (error) {
    // Without a network, another type is better than none, unless the caller asked for this one.
    if (codeOf(error) === "network" && type === undefined && kept[0]) return { source: fileUrl(model, kept[0].path) };
    throw error;
  }
  const { path, size } = chooseFile(repository, { type, towers });
  return { source: fileUrl(model, path), size: size ?? undefined };
}

/**
 * The stored files of a repository that have the wanted towers.
 * @param {HubModel} model
 * @param {Tower[] | undefined} towers
 * @param {Kept[]} all
 */
function keptFiles(model, towers, all) {
  const folder = folderUrl(model);
  return all
    .filter(({ url, whole, towers: has }) => url.startsWith(folder) && (whole || (towers ?? TOWERS).every((tower) => has.includes(tower))))
    .map(({ url }) => {
      const [path = "", conversion] = url.slice(folder.length).split("#");
      return { path: decodeURIComponent(path), type: conversion?.split("-")[0] ?? weightTypeOf(path) };
    });
}
