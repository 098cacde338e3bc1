// Which files are a checkpoint's weights, by their names.

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
