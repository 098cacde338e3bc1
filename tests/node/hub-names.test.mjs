// Names and addresses of models on the Hub, and which file of a repository is loaded.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { chooseFile } from "../../www/lib/client/hub-files.js";
import { codeOf } from "../../www/lib/shared/error.js";
import { fileUrl, hubModelOf } from "../../www/lib/shared/hub.js";

const REPOSITORY = "openai/clip-vit-base-patch32";
const NAME = { host: "https://huggingface.co", repository: REPOSITORY, revision: "main", file: null };
const FILE = "ggml-model-q8_0.gguf";

/** @type {[source: string, wanted: object | null, options?: { host?: string, revision?: string }][]} */
const SOURCES = [
  [REPOSITORY, NAME],
  [` ${REPOSITORY}\n`, NAME],
  [`${REPOSITORY}/`, NAME],
  [`${REPOSITORY}@v1.0`, { ...NAME, revision: "v1.0" }],
  [`${REPOSITORY}@refs/pr/3`, { ...NAME, revision: "refs/pr/3" }],
  [REPOSITORY, { ...NAME, revision: "refs/pr/3" }, { revision: "refs/pr/3" }],
  [`${REPOSITORY}/${FILE}`, { ...NAME, file: FILE }],
  [`${REPOSITORY}/gguf/${FILE}`, { ...NAME, file: `gguf/${FILE}` }],
  [`${REPOSITORY}@refs/pr/3/${FILE}`, { ...NAME, revision: "refs/pr/3", file: FILE }],
  [`hf.co/${REPOSITORY}`, NAME],
  [`hf.co/${REPOSITORY}/${FILE}`, { ...NAME, file: FILE }],
  [`hf://${REPOSITORY}/${FILE}`, { ...NAME, file: FILE }],
  [`huggingface.co/${REPOSITORY}`, NAME],
  [`https://huggingface.co/${REPOSITORY}`, NAME],
  [`https://www.huggingface.co/${REPOSITORY}?library=transformers#use`, NAME],
  [`https://huggingface.co/${REPOSITORY}/tree/main`, NAME],
  [`https://huggingface.co/${REPOSITORY}/tree/refs%2Fpr%2F3`, { ...NAME, revision: "refs/pr/3" }],
  [`https://huggingface.co/${REPOSITORY}/blob/refs%2Fpr%2F3/${FILE}`, { ...NAME, revision: "refs/pr/3", file: FILE }],
  [`https://hf.co/${REPOSITORY}/blob/main/onnx/${FILE}?download=true`, { ...NAME, file: `onnx/${FILE}` }],
  [REPOSITORY, { ...NAME, host: "https://hf-mirror.com" }, { host: "https://hf-mirror.com/" }],
  [REPOSITORY, { ...NAME, host: "https://hf-mirror.com" }, { host: "hf-mirror.com" }],
  [`https://hf-mirror.com/${REPOSITORY}`, { ...NAME, host: "https://hf-mirror.com" }, { host: "https://hf-mirror.com" }],
  [`https://huggingface.co/${REPOSITORY}`, { ...NAME, host: "https://hf-mirror.com" }, { host: "https://hf-mirror.com" }],
  // Files, which are no names.
  [`https://huggingface.co/${REPOSITORY}/resolve/main/${FILE}`, null],
  [`https://example.org/${REPOSITORY}`, null],
  ["models/demo.gguf", null],
  ["models/model.safetensors", null],
  ["models/pytorch_model.bin", null],
  ["model.gguf", null],
  ["./owner/model.gguf", null],
  ["../owner/name", null],
  ["/owner/name", null],
  ["a/b/c", null],
  ["C:/models/clip.gguf", null],
  ["blob:https://example.org/5f0c", null],
  ["data:application/octet-stream;base64,AAAA", null],
  ["file:///models/clip.gguf", null],
  ["", null],
];

describe("a source", () => {
  for (const [source, wanted, options = {}] of SOURCES) {
    test(`${JSON.stringify(source)} ${JSON.stringify(options)}`, () => assert.deepEqual(hubModelOf(source, options), wanted));
  }

  /** @type {[source: string, code: string, message: RegExp, options?: object][]} */
  const WRONG = [
    ["https://huggingface.co/datasets/laion/laion2B-en", "not_a_model", /not the name or the address of a model/],
    ["https://huggingface.co/openai", "not_a_model", /not the name or the address of a model/],
    ["https://huggingface.co/", "not_a_model", /not the name or the address of a model/],
    [`https://huggingface.co/${REPOSITORY}/tree/main/onnx`, "not_a_model", /is a folder of a repository; give a file in it/],
    [`${REPOSITORY}@`, "invalid_input", /no revision after the @/],
    [REPOSITORY, "invalid_input", /host is "a mirror", not the address of a mirror/, { host: "a mirror" }],
  ];
  for (const [source, code, message, options = {}] of WRONG) {
    test(`${JSON.stringify(source)} ${JSON.stringify(options)} is refused`, () => {
      assert.throws(() => hubModelOf(source, options), (error) => codeOf(error) === code && message.test(String(error)));
    });
  }
});

test("a file's URL has the revision and the path encoded", () => {
  assert.equal(fileUrl({ ...NAME, revision: "refs/pr/3" }, "a folder/model#1.gguf"), `https://huggingface.co/${REPOSITORY}/resolve/refs%2Fpr%2F3/a%20folder/model%231.gguf`);
});

/** @typedef {Parameters<typeof chooseFile>[1]} Wanted */

const CLIP_CPP = ["README.md", ...["f16", "f32", "q4_0", "q8_0"].flatMap((type) => ["model", "text-model", "vision-model"].map((tower) => `TinyCLIP-ViT-8M-16-Text-3M_ggml-${tower}-${type}.gguf`))];
const LAION = ["README.md", "config.json", "model.safetensors", "open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin", "tokenizer.json"];

/** @type {[what: string, paths: string[], wanted: Wanted, path: string, more?: object][]} */
const CHOICES = [
  ["the q8_0 with both towers", CLIP_CPP, {}, "TinyCLIP-ViT-8M-16-Text-3M_ggml-model-q8_0.gguf"],
  ["the type that is asked for", CLIP_CPP, { type: "q4_0" }, "TinyCLIP-ViT-8M-16-Text-3M_ggml-model-q4_0.gguf"],
  ["both towers even for one: only its parts are read", CLIP_CPP, { towers: ["text"] }, "TinyCLIP-ViT-8M-16-Text-3M_ggml-model-q8_0.gguf"],
  ["f16 if there is no q8_0", ["a-q4_0.gguf", "a-f16.gguf"], {}, "a-f16.gguf"],
  ["a K-quant", ["clip-Q4_K_M.gguf"], {}, "clip-Q4_K_M.gguf"],
  ["a GGUF whose name tells no type", ["clip.gguf", "model.safetensors"], {}, "clip.gguf"],
  ["a GGUF before a checkpoint", ["model.safetensors", "a.Q8_0.gguf"], {}, "a.Q8_0.gguf"],
  ["a checkpoint if no GGUF has the type", ["model.safetensors", "a-q8_0.gguf"], { type: "q4_0" }, "model.safetensors"],
  ["one tower if it is asked for", ["clip-vision-model-q8_0.gguf", "clip-text-model-q8_0.gguf"], { towers: ["text"] }, "clip-text-model-q8_0.gguf"],
  ["safetensors before pickles", LAION, {}, "model.safetensors"],
  ["open_clip's file where model.safetensors is timm's", LAION, {}, "open_clip_model.safetensors", { modelType: null }],
  ["a pickle alone", ["config.json", "flax_model.msgpack", "pytorch_model.bin", "tf_model.h5"], {}, "pytorch_model.bin"],
  ["an index of several files", ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"], {}, "model.safetensors.index.json"],
  ["no file in a folder, such as an adapter's", ["adapter/model.safetensors", "pytorch_model.bin"], {}, "pytorch_model.bin"],
];

describe("of a repository is loaded", () => {
  const repository = (/** @type {string[]} */ paths, /** @type {object} */ more = {}) => ({
    name: "owner/name",
    files: paths.map((path) => ({ path, size: 7 })),
    modelType: "clip",
    baseModels: [],
    ...more,
  });
  for (const [what, paths, wanted, path, more] of CHOICES) {
    test(what, () => assert.deepEqual(chooseFile(repository(paths, more), wanted), { path, size: path.endsWith(".json") ? null : 7 }));
  }

  /** @type {[what: string, paths: string[], wanted: Wanted, code: string, message: RegExp, more?: object][]} */
  const NOTHING = [
    ["another type of GGUF", ["a-q8_0.gguf", "a-f16.gguf"], { type: "q4_0" }, "invalid_input", /no GGUF of type q4_0; it has q8_0, f16/],
    ["towers in two files", ["clip-vision-model-q8_0.gguf", "clip-text-model-q8_0.gguf"], {}, "missing_tower", /owner\/name\/clip-vision-model-q8_0\.gguf/],
    ["ONNX only, of a known model", ["config.json", "onnx/model.onnx"], {}, "unsupported_model", /load the model that they were made from: openai\/clip-vit-base-patch32$/, { baseModels: [REPOSITORY] }],
    ["ONNX only", ["onnx/model.onnx"], {}, "unsupported_model", /which its page names/],
    ["other forms", ["flax_model.msgpack", "tf_model.h5"], {}, "not_a_model", /\(\.h5, \.msgpack\)/],
    ["no weights", ["README.md"], {}, "not_a_model", /owner\/name has no weights/],
  ];
  for (const [what, paths, wanted, code, message, more] of NOTHING) {
    test(`nothing: ${what}`, () => {
      assert.throws(() => chooseFile(repository(paths, more), wanted), (error) => codeOf(error) === code && message.test(String(error)));
    });
  }
});

test("the page's menu: each model's revision is fixed where it is known, and its size and language are told", () => {
  /** @type {{ name: string, url: string, size?: number, keptSize?: number, description: string, builtIn?: boolean }[]} */
  const entries = JSON.parse(readFileSync(new URL("../../www/models.json", import.meta.url), "utf8"));
  /** Of this repository only the beginning of its commit is known. */
  const NOT_FIXED = "https://huggingface.co/mys/ggml_CLIP-ViT-L-14-laion2B-s32B-b82K";
  for (const { name, url, size, keptSize, description, builtIn } of entries) {
    assert.ok(size ?? keptSize, name);
    if (builtIn) continue;
    assert.match(description, /English texts\.$/, name);
    const revision = hubModelOf(url, {})?.revision ?? /\/resolve\/([^/]+)\//.exec(url)?.[1];
    assert.match(String(revision), url === NOT_FIXED ? /^main$/ : /^[0-9a-f]{40}$/, name);
  }
  assert.match(String(entries[1]?.name), /^TinyCLIP/, "the first of the real world is the smallest");
});
