// Recognises a checkpoint's weights by their file names and URLs.

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
