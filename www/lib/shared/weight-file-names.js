// Recognises a checkpoint's weights by their file names and URLs.

import { ClipError } from "./error.js";

/**
 * The names of weights, and of the index if there are several files. torch's weights are recognised by their whole
 * name, because other files end in `.bin` too, such as optimizers and GGUFs. If a folder has two kinds, the first is
 * used.
 */
export const KINDS = [
  { weights: /\.safetensors$/i, index: /\.safetensors\.index\.json$/i },
  { weights: /(^|\/)(open_clip_)?pytorch_model(-\d+-of-\d+)?\.bin$/i, index: /(^|\/)pytorch_model\.bin\.index\.json$/i },
];

/** @param {string} path of a file */
export function isWeightsName(path) {
  return KINDS.some(({ weights }) => weights.test(path));
}

/** @param {string} path of a file */
export function isIndexName(path) {
  return KINDS.some(({ index }) => index.test(path));
}

const HUB_HOSTS = ["huggingface.co", "www.huggingface.co", "hf.co"];

/**
 * Throws if a URL is that of a page of Hugging Face's Hub: another site may not read the response.
 * @param {string} url absolute
 */
export function refuseHubPages(url) {
  const { host, pathname } = new URL(url);
  const [owner, name, kind, ...rest] = pathname.split("/").slice(1).filter((part) => part !== "");
  if (!HUB_HOSTS.includes(host) || !owner || !name || owner === "api") return;
  const files = `https://huggingface.co/${owner}/${name}/resolve`;
  if (kind === "blob" && rest.length > 1) {
    throw new ClipError("not_a_model", `${url} is the page of a file on the Hub; its own address is ${files}/${rest.join("/")}`);
  }
  if (kind === undefined || kind === "tree" || kind === "blob") {
    const example = `${files}/${rest[0] ?? "main"}/model.safetensors`;
    throw new ClipError("not_a_model", `${url} is the page of a repository on the Hub; give the address of its weights, such as ${example}`);
  }
}
