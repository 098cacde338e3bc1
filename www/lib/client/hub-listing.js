// What the Hub tells of a repository: its files, and what its model is.

import { download, readBody } from "../shared/download.js";
import { ClipError } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";

/** @import { Access, HubModel } from "../shared/hub.js" */
/** @import { LimitOptions } from "../shared/protocol.js" */
/** @import { Repository } from "./hub-files.js" */

/**
 * Rejects with `model_not_found` or `access_denied` if the Hub says so, and with `not_json` if it answers with anything
 * else than a listing.
 * @param {HubModel} model
 * @param {Access | null} access
 * @param {LimitOptions} limits
 * @param {AbortSignal} [signal]
 * @returns {Promise<Repository>}
 */
export async function askHub({ host, repository, revision }, access, limits, signal) {
  const url = `${host}/api/models/${repository}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const response = await download(url, { signal, access });
  const check = (/** @type {number} */ bytes) => checkLimit("jsonBytes", bytes, `bytes of ${url}`, limits);
  const text = await (await readBody(response, url, check, signal)).text();
  let told;
  try {
    told = JSON.parse(text);
  } catch (cause) {
    throw new ClipError("not_json", `${url} did not return a list of files; is ${host} a mirror of the Hub?`, { cause });
  }
  if (!Array.isArray(told?.siblings)) throw new ClipError("not_json", `${url} returned no list of files; is ${host} a mirror of the Hub?`);
  const files = told.siblings
    .filter((/** @type {any} */ file) => typeof file?.rfilename === "string")
    .map((/** @type {any} */ { rfilename, size }) => ({ path: rfilename, size: typeof size === "number" ? size : null }));
  const bases = [told.cardData?.base_model ?? []].flat();
  return {
    name: repository,
    files,
    modelType: typeof told.config?.model_type === "string" ? told.config.model_type : null,
    baseModels: bases.filter((/** @type {unknown} */ base) => typeof base === "string"),
  };
}
