// Which file of a repository on the Hub is loaded.

import { ClipError } from "../shared/error.js";

/** @import { Tower } from "../shared/protocol.js" */

/**
 * What the Hub tells of a repository.
 * @typedef {object} Repository
 * @property {string} name `owner/name`
 * @property {{ path: string, size: number | null }[]} files
 * @property {string | null} modelType the `model_type` of its config.json
 * @property {string[]} baseModels that it was made from
 */

/** Types of weights, in the order in which they are chosen. */
export const TYPES = ["q8_0", "f16", "f32", "q6_k", "q5_k", "q5_1", "q5_0", "q4_k", "q4_1", "q4_0", "q3_k", "q2_k"];
/** In a file's name, the type of its weights: the variants of a K-quant, such as Q4_K_M, count as one. */
const TYPE = /(?:^|[-_.])(bf16|f16|f32|q\d_[01k])(?:_[sml])?(?=[-_.])/gi;
/** GGUFs of one tower, as clip.cpp and llama.cpp name them. */
const ONE_TOWER = { text: /text[-_]model|text[-_]encoder/i, vision: /(vision|visual|image)[-_](model|encoder)|mmproj/i };

const TRANSFORMERS = ["model.safetensors", "model.safetensors.index.json"];
const OPEN_CLIP = ["open_clip_model.safetensors"];
const TRANSFORMERS_PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json"];
const OPEN_CLIP_PICKLES = ["open_clip_pytorch_model.bin"];

/**
 * A GGUF with both towers, else a checkpoint: safetensors before pickles.
 * @param {Repository} repository
 * @param {{ type?: string, towers?: Tower[] }} wanted `type`: of the weights; q8_0 if there is one and none is given
 * @returns {{ path: string, size: number | null }}
 */
export function chooseFile(repository, { type, towers }) {
  const ggufs = repository.files.filter(({ path }) => /\.gguf$/i.test(path));
  const only = towers?.length === 1 ? towers[0] : undefined;
  const both = ggufs.filter(({ path }) => !ONE_TOWER.text.test(path) && !ONE_TOWER.vision.test(path));
  const one = only ? ggufs.filter(({ path }) => ONE_TOWER[only].test(path)) : [];
  const checkpoint = chooseCheckpoint(repository);
  for (const candidates of [both, one]) {
    const chosen = ofType(candidates, type);
    if (chosen) return chosen;
    // A checkpoint can be converted to the wanted type.
    if (candidates.length > 0 && !checkpoint) throw noType(repository, candidates, type);
  }
  if (checkpoint) return checkpoint;
  throw nothing(repository, ggufs);
}

/** @param {Repository} repository */
function chooseCheckpoint({ files, modelType }) {
  const has = (/** @type {string} */ name) => files.some(({ path }) => path === name);
  // Beside open_clip's own weights, a model.safetensors may be timm's, which has other tensors.
  const isTransformers = modelType === "clip" || !has("open_clip_config.json");
  const safetensors = isTransformers ? [...TRANSFORMERS, ...OPEN_CLIP] : [...OPEN_CLIP, ...TRANSFORMERS];
  const pickles = isTransformers ? [...TRANSFORMERS_PICKLES, ...OPEN_CLIP_PICKLES] : [...OPEN_CLIP_PICKLES, ...TRANSFORMERS_PICKLES];
  const name = [...safetensors, ...pickles].find(has);
  const file = files.find(({ path }) => path === name);
  // The size of an index is not that of the weights.
  return file && { path: file.path, size: file.path.endsWith(".json") ? null : file.size };
}

/**
 * @param {Repository["files"]} candidates
 * @param {string | undefined} type
 */
function ofType(candidates, type) {
  for (const wanted of type ? [type.toLowerCase()] : TYPES) {
    const found = candidates.filter(({ path }) => weightTypeOf(path) === wanted).sort((a, b) => a.path.length - b.path.length)[0];
    if (found) return found;
  }
  // A name that does not tell its type can have the wanted one only if nobody asked for one.
  return type ? undefined : candidates[0];
}

/**
 * @param {string} path of a GGUF
 * @returns {string | null} the type of its weights, as its name tells it
 */
export function weightTypeOf(path) {
  const name = path.split("/").at(-1) ?? "";
  return [...name.matchAll(TYPE)].at(-1)?.[1]?.toLowerCase() ?? null;
}

/**
 * @param {Repository} repository
 * @param {Repository["files"]} candidates
 * @param {string | undefined} type
 */
function noType({ name }, candidates, type) {
  const types = candidates.map(({ path }) => weightTypeOf(path) ?? path).join(", ");
  return new ClipError("invalid_input", `${name} has no GGUF of type ${type}; it has ${types}`);
}

/**
 * @param {Repository} repository
 * @param {Repository["files"]} ggufs
 */
function nothing({ name, files, baseModels }, ggufs) {
  if (ggufs.length > 0) {
    const paths = ggufs.map(({ path }) => `${name}/${path}`).join(", ");
    return new ClipError("missing_tower", `${name} has no file with both towers; load one of ${paths}, or choose the tower with the option towers`);
  }
  const has = (/** @type {RegExp} */ pattern) => files.some(({ path }) => pattern.test(path));
  if (has(/\.onnx$/i)) {
    const base = baseModels.length > 0 ? `load the model that they were made from: ${baseModels.join(" or ")}` : "load the model that they were made from, which its page names";
    return new ClipError("unsupported_model", `${name} has ONNX files only, which are made for other programs; ${base}`);
  }
  const other = ["h5", "msgpack", "pt", "ckpt", "tflite", "mlpackage"].filter((kind) => has(new RegExp(`\\.${kind}(/|$)`, "i")));
  const found = other.length > 0 ? `only weights in forms that are not read (.${other.join(", .")})` : "no weights";
  return new ClipError("not_a_model", `${name} has ${found}; a GGUF, safetensors or pytorch_model.bin file of a CLIP model is needed`);
}
