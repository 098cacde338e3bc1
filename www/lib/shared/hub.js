// Hugging Face's Hub: names and addresses of its models, access to private ones, and its errors.

import { ClipError } from "./error.js";
import { isIndexName, isWeightsName } from "./weight-file-names.js";

/**
 * A model on the Hub, or on a mirror of it.
 * @typedef {object} HubModel
 * @property {string} host its origin, such as `https://huggingface.co`
 * @property {string} repository `owner/name`
 * @property {string} revision a branch, a tag, a commit, or a reference such as `refs/pr/3`
 * @property {string | null} file its path in the repository; `null` if it is to be chosen
 */

/**
 * A token, and the only origin that it is sent to.
 * @typedef {{ token: string, origin: string }} Access
 */

export const HUB = "https://huggingface.co";
const HOSTS = ["huggingface.co", "www.huggingface.co", "hf.co"];
/** Parts of the Hub that are no models. */
const OTHER_KINDS = ["api", "blog", "collections", "datasets", "docs", "models", "organizations", "papers", "settings", "spaces"];

const NAME = /^[\w.-]*\w[\w.-]*$/;
const REVISION = /^(refs\/[\w-]+\/[^/]+|[^/]+)(?:\/(.+))?$/;

/**
 * A model that is given by its name on the Hub, or by the address of a page there:
 * `owner/name`, `owner/name@revision`, `owner/name/file.gguf`, `owner/name@revision/file.gguf`, the same after `hf.co/`
 * or `https://huggingface.co/`, and addresses with `/blob/` and `/tree/`.
 * @param {string} source as the caller gave it
 * @param {{ host?: string, revision?: string }} options
 * @returns {HubModel | null} `null` for anything else, which is the URL or path of a file. That includes addresses with
 *   `/resolve/`, and `folder/file.gguf`
 */
export function hubModelOf(source, { host = HUB, revision }) {
  const origin = originOf(host);
  const text = source.trim();
  const scheme = /^([a-z][a-z0-9+.-]+):\/*/i.exec(text);
  const rest = scheme ? text.slice(scheme[0].length) : text;
  const [first = "", ...segments] = (rest.split(/[?#]/)[0] ?? "").split("/").filter((part, i) => i === 0 || part !== "");
  const isHub = HOSTS.includes(first.toLowerCase()) || new URL(origin).host === first.toLowerCase();
  if (scheme && scheme[1]?.toLowerCase() === "hf") return fromParts([first, ...segments], origin, revision, source);
  if (isHub && (!scheme || /^https?$/i.test(String(scheme[1])))) {
    if (segments[2] === "resolve" || segments[2] === "raw") return null;
    return fromParts(segments, origin, revision, source);
  }
  if (scheme) return null;
  const [name = "", ...more] = segments;
  const [bare, at] = split(name, "@");
  if (!NAME.test(first) || !NAME.test(bare)) return null;
  if (at === undefined && more.length === 0 && isModelFile(bare)) return null; // a file in a folder
  if (at === undefined && more.length > 0 && !isModelFile(String(more.at(-1)))) return null;
  return fromParts([first, ...segments], origin, revision, source);
}

/**
 * Whether a name could as well be the relative URL, or the path, of a file.
 * @param {string} source
 */
export function isAmbiguous(source) {
  return !/^[a-z][a-z0-9+.-]+:|@/i.test(source) && !HOSTS.includes(String(source.split("/")[0]).toLowerCase());
}

/**
 * @param {HubModel} model
 * @param {string} file
 * @returns {string} the URL of a file's bytes
 */
export function fileUrl({ host, repository, revision }, file) {
  return `${folderUrl({ host, repository, revision })}${file.split("/").map(encodeURIComponent).join("/")}`;
}

/**
 * @param {Omit<HubModel, "file">} model
 * @returns {string} what the URLs of all its files begin with
 */
export function folderUrl({ host, repository, revision }) {
  return `${host}/${repository}/resolve/${encodeURIComponent(revision)}/`;
}

/**
 * @param {string} host a URL, or a host alone
 * @returns {string} its origin
 */
export function originOf(host) {
  try {
    const url = new URL(/^https?:\/\//i.test(host) ? host : `https://${host}`);
    // Some browsers encode what cannot be in a host's name.
    if (url.origin !== "null" && !url.host.includes("%")) return url.origin === "https://hf.co" ? HUB : url.origin;
  } catch {
    // The error is thrown below.
  }
  throw new ClipError("invalid_input", `host is "${host}", not the address of a mirror of the Hub, such as ${HUB}`);
}

/**
 * The headers that a request needs for a private model. Another host, such as a mirror, never gets the token.
 * @param {string} url
 * @param {Access | null | undefined} access
 * @returns {Record<string, string>}
 */
export function accessHeaders(url, access) {
  return access && new URL(url).origin === access.origin ? { authorization: `Bearer ${access.token}` } : {};
}

/**
 * The error of a response of the Hub, which says in headers what is wrong.
 * @param {Response} response with another status than 2xx
 * @param {string} url that was requested
 * @param {boolean} hasToken whether a token was sent
 * @returns {ClipError | null} `null` if another host answered, or for a failure of the Hub itself
 */
export function hubError(response, url, hasToken) {
  const { host, origin, pathname } = new URL(url);
  const told = response.headers.get("x-error-code");
  // A token is sent to the Hub alone, which does not always say more than the status.
  if (![401, 403, 404].includes(response.status) || !(told || hasToken || HOSTS.includes(host))) return null;
  const [, repository] = /^\/(?:api\/models\/)?([^/]+\/[^/]+)/.exec(pathname) ?? [];
  if (!repository) return null;
  const details = { cause: response };
  if (told === "EntryNotFound") return null;
  if (told === "RevisionNotFound") {
    return new ClipError("model_not_found", `${repository} on ${host} has no such revision (${url}): choose another, or leave it out`, details);
  }
  if (told === "GatedRepo" || response.status === 403) {
    const then = hasToken ? "with the account of this token" : `and pass a token of your account as { token } (${origin}/settings/tokens)`;
    return new ClipError("access_denied", `${repository} is given only to those who accept its terms: do so at ${origin}/${repository} ${then}`, details);
  }
  if (response.status === 401 && hasToken) {
    return new ClipError("access_denied", `${host} refuses the token for ${repository}: it is wrong, has expired, or may not read this model`, details);
  }
  if (response.status === 404 && told !== "RepoNotFound") return null;
  return new ClipError("model_not_found", `there is no model ${repository} on ${host}, or it is private: check its name, or pass a token of an account that may read it as { token }`, details);
}

/**
 * @param {string[]} parts of the path: `owner`, `name`, perhaps `blob` or `tree` with a revision, and a file
 * @param {string} host
 * @param {string | undefined} wanted the revision that the caller asks for
 * @param {string} source
 * @returns {HubModel}
 */
function fromParts(parts, host, wanted, source) {
  const [owner = "", named = "", ...rest] = parts.map(decoded);
  const [name, at] = split(named, "@");
  if (!NAME.test(owner) || !NAME.test(name) || OTHER_KINDS.includes(owner)) {
    throw new ClipError("not_a_model", `${source} is not the name or the address of a model on the Hub, such as openai/clip-vit-base-patch32`);
  }
  const isPage = rest[0] === "blob" || rest[0] === "tree";
  let revision = wanted ?? "main";
  let file = rest.join("/");
  if (isPage || at !== undefined) {
    const found = REVISION.exec((isPage ? rest.slice(1) : [at, ...rest]).join("/"));
    if (!found && !isPage) throw new ClipError("invalid_input", `${source} has no revision after the @`);
    revision = found?.[1] ?? revision;
    file = found?.[2] ?? "";
  }
  if (rest[0] === "tree" && file !== "") {
    throw new ClipError("not_a_model", `${source} is a folder of a repository; give a file in it, such as ${owner}/${name}@${revision}/${file}/model.gguf`);
  }
  return { host, repository: `${owner}/${name}`, revision, file: file || null };
}

/** @param {string} name */
export function isModelFile(name) {
  return /\.gguf$/i.test(name) || isWeightsName(name) || isIndexName(name);
}

/**
 * @param {string} text
 * @param {string} separator
 * @returns {[string, string | undefined]}
 */
function split(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** @param {string} part of a path */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
