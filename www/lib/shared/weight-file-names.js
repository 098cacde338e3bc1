// Which files are a checkpoint's weights, by their names and addresses.

import { ClipError } from "./error.js";

/**
 * What weights are called, and the index of several files of them. torch's are known by their whole name: other files
 * end in `.bin` too, optimizers and GGUFs among them. Of two kinds in one folder the first is taken.
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
 * Throws where an address is that of a page of Hugging Face's Hub, which answers it with nothing that another site may
 * read.
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
