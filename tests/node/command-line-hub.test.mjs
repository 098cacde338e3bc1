// The command line with models by their names on the Hub, against a stand-in for it: which file is taken, what is in
// the cache, what works without a network, and errors.

import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, beforeEach, describe, test } from "node:test";
import { REPOSITORY } from "../browser/support/browser.mjs";
import { COMMIT, FakeHub, STRANGER, TOKEN } from "../browser/support/fake-hub.mjs";
import { CommandLine } from "./command-line.mjs";
import { DEMO } from "./installed.mjs";

const CHECKPOINT = join(REPOSITORY, "examples/demo_model/shapes-and-colours");
const NAMES = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"];
const FILES = Object.fromEntries(NAMES.map((name) => [name, join(CHECKPOINT, name)]));
const GGUF = "demo_ggml-model-q8_0.gguf";

/** @type {FakeHub} */
let hub;
/** @type {CommandLine} */
let line;
/** @type {number[][]} */
let wanted;

before(async () => {
  hub = await new FakeHub().start();
  // Another name than the Hub's, so that a token for the Hub is not for it.
  hub.storeHost = "localhost";
  line = new CommandLine(hub.origin);
  wanted = (await line.embed(DEMO)).data;
});
after(async () => {
  line?.remove();
  await hub.stop();
});
beforeEach(() => {
  line.forget();
  hub.reset();
  hub.repositories = {
    "maker/clip": { files: { [GGUF]: DEMO, "gguf/other #1.gguf": DEMO, "README.md": Buffer.from("# A model") }, revisions: ["main", "v1", "refs/pr/3"] },
    "maker/checkpoint": { files: FILES, config: { model_type: "clip" } },
    "maker/sharded": { files: sharded(), config: { model_type: "clip" } },
    "maker/private": { files: { "model-q8_0.gguf": DEMO }, visibility: "private" },
    "maker/gated": { files: { "model-q8_0.gguf": DEMO }, visibility: "gated" },
    "xenova/clip": { files: { "onnx/model.onnx": Buffer.from("onnx") }, cardData: { base_model: "maker/clip" } },
    "maker/nothing": { files: { "README.md": Buffer.from("# Nothing") } },
    "maker/page": { files: { "model.gguf": Buffer.from("<!doctype html><title>Sign in</title>") } },
  };
});

/** The checkpoint in two files, and their index. */
function sharded() {
  const { "model.safetensors": weights = "", ...files } = FILES;
  const bytes = readFileSync(weights);
  const length = Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...header } = JSON.parse(bytes.toString("utf8", 8, 8 + length));
  const names = Object.keys(header);
  /** @type {Record<string, string | Buffer>} */
  const shards = {};
  /** @type {Record<string, string>} */
  const map = {};
  [names.filter((_, i) => i % 2), names.filter((_, i) => i % 2 === 0)].forEach((own, i) => {
    const shard = `model-0000${i + 1}-of-00002.safetensors`;
    const tensors = own.map((name) => bytes.subarray(...header[name].data_offsets.map((/** @type {number} */ at) => 8 + length + at)));
    let at = 0;
    const described = own.map((name, i) => [name, { ...header[name], data_offsets: [at, (at += Number(tensors[i]?.length))] }]);
    const json = Buffer.from(JSON.stringify(Object.fromEntries(described)));
    const size = Buffer.alloc(8);
    size.writeBigUInt64LE(BigInt(json.length));
    shards[shard] = Buffer.concat([size, json, ...tensors]);
    for (const name of own) map[name] = shard;
  });
  return { ...files, ...shards, "model.safetensors.index.json": Buffer.from(JSON.stringify({ weight_map: map })) };
}

/** What is in the cache beside whole files. */
function leftovers() {
  return line.stored().filter((path) => /\.(incomplete|part)$/.test(path));
}

describe("a model is loaded by", () => {
  const names = [
    "maker/clip",
    "maker/clip@v1",
    "maker/clip@refs/pr/3",
    `maker/clip@${COMMIT}`,
    `maker/clip/${GGUF}`,
    "hf.co/maker/clip",
    "https://huggingface.co/maker/clip",
    "https://huggingface.co/maker/clip/tree/refs%2Fpr%2F3",
    `https://huggingface.co/maker/clip/blob/main/${GGUF}`,
    `https://huggingface.co/maker/clip/resolve/main/${GGUF}?download=true`,
    "https://huggingface.co/maker/clip/resolve/main/gguf/other%20%231.gguf",
  ];
  for (const name of names) {
    test(name, async () => {
      const { data, said } = await line.embed(name);
      assert.deepEqual(data, wanted, said);
      assert.match(said, /downloading maker\/clip\//);
      assert.deepEqual(leftovers(), []);
    });
  }

  test("the address of the mirror", async () => assert.deepEqual((await line.embed(`${hub.origin}/maker/clip`)).data, wanted));

  test("the token that private and gated models need", async () => {
    for (const name of ["maker/private", "maker/gated"]) assert.deepEqual((await line.embed(name, { HF_TOKEN: TOKEN })).data, wanted);
    assert.ok(hub.stored.length > 0);
    assert.deepEqual(hub.tokensAtStore.filter(Boolean), [], "the token is for the Hub alone");
  });

  test("the token that a login has stored", async () => {
    writeFileSync(join(line.home, "token"), `${TOKEN}\n`);
    assert.deepEqual((await line.embed("maker/private")).data, wanted);
  });

  test("its path, if there is such a file", async () => {
    mkdirSync(join(line.folder, "maker/clip"), { recursive: true });
    writeFileSync(join(line.folder, "maker/clip", GGUF), readFileSync(DEMO));
    assert.deepEqual((await line.embed(`maker/clip/${GGUF}`)).data, wanted);
    assert.deepEqual(hub.requests, []);
    rmSync(join(line.folder, "maker"), { recursive: true });
  });
});

test("inspect and convert take names too", async () => {
  assert.match((await line.run(["inspect", "maker/clip"])).printed, /embedding +\d+ components/);
  const own = join(line.folder, "own.gguf");
  const hubs = join(line.folder, "hubs.gguf");
  await line.run(["convert", CHECKPOINT, "--type", "q4_0", "-o", own]);
  for (const name of ["maker/checkpoint", "maker/checkpoint/model.safetensors", "maker/sharded", "maker/sharded/model.safetensors.index.json"]) {
    const { code, said } = await line.run(["convert", name, "--type", "q4_0", "-o", hubs]);
    assert.equal(code, 0, said);
    assert.ok(Math.abs(readFileSync(hubs).length - readFileSync(own).length) < 100, name);
    assert.deepEqual((await line.embed(hubs)).data, (await line.embed(own)).data);
    assert.match((await line.run(["inspect", hubs])).printed, new RegExp(`name +${name.split("/")[1]}`));
  }
});

describe("a checkpoint", () => {
  test("is converted to q8_0 once, and needs neither the weights nor a network then", async () => {
    const first = await line.embed("maker/checkpoint");
    assert.match(first.said, /converting maker\/checkpoint to q8_0, once: .+model\.safetensors\.q8_0\.v\d+\.gguf/);
    assert.deepEqual(first.data, wanted, "the demo model is this checkpoint in q8_0");
    hub.stored = [];
    const second = await line.embed("maker/checkpoint");
    assert.deepEqual([second.data, second.said, hub.stored], [first.data, "", []]);
    rmSync(join(line.home, "hub/models--maker--checkpoint/snapshots"), { recursive: true });
    assert.deepEqual((await line.embed("maker/checkpoint", { HF_HUB_OFFLINE: "1" })).data, first.data);
    assert.deepEqual(leftovers(), []);
  });

  test("is converted to the type that is asked for", async () => {
    assert.match((await line.embed("maker/checkpoint", {}, "--type", "q4_0")).said, /to q4_0, once/);
    const wrong = await line.run(["embed", "--model", "maker/checkpoint", "--type", "q9_9", "--text", "a"]);
    assert.match(wrong.said, /the file type must be one of .+\[invalid_input\]/);
  });

  test("is converted again if the program converts otherwise than the one that did", () => {
    const versions = ["src/bin/clip-wasm/hub/converted.rs", "www/lib/worker/load-checkpoint.js"].map((path) => /CONVERSION(?:: u32)? = (\d+);/.exec(readFileSync(join(REPOSITORY, path), "utf8"))?.[1]);
    assert.ok(versions[0]);
    assert.equal(versions[0], versions[1], "JavaScript's version and the command line's");
  });
});

describe("the cache", () => {
  test("has the layout of huggingface_hub", async () => {
    await line.embed("maker/clip@v1");
    const folder = join(line.home, "hub/models--maker--clip");
    assert.equal(readFileSync(join(folder, "refs/v1"), "utf8"), COMMIT);
    assert.deepEqual(readFileSync(join(folder, "snapshots", COMMIT, GGUF)), readFileSync(DEMO));
    assert.match(String(readdirSync(join(folder, "blobs"))), /^[0-9a-f]{64}$/);
  });

  test("has whole files of a mirror that tells no sizes and hashes", async () => {
    hub.details = false;
    assert.deepEqual((await line.embed("maker/checkpoint")).data, wanted);
    const weights = join(line.home, "hub/models--maker--checkpoint/snapshots", COMMIT, "model.safetensors");
    assert.deepEqual(readFileSync(weights), readFileSync(String(FILES["model.safetensors"])));
    assert.deepEqual(leftovers(), []);
  });

  test("whose file was deleted gets it again", async () => {
    await line.embed("maker/clip");
    rmSync(String(line.stored().find((path) => path.includes("/blobs/"))));
    assert.deepEqual((await line.embed("maker/clip")).data, wanted);
  });

  test("is where the variables say", async () => {
    const cache = join(line.folder, "elsewhere");
    await line.embed("maker/clip", { HF_HUB_CACHE: cache });
    assert.ok(existsSync(join(cache, "models--maker--clip")));
    assert.deepEqual(line.stored(), []);
  });

  /** @type {[how: string, env: Record<string, string>, instead: FakeHub["instead"]][]} */
  const ways = [
    ["it is forbidden", { HF_HUB_OFFLINE: "1" }, null],
    ["it is down", {}, (request) => request.destroy()],
    ["the Hub fails", {}, (_request, response) => void response.writeHead(503).end()],
  ];
  for (const [how, env, instead] of ways) {
    test(`works without the network if ${how}`, async () => {
      await line.embed("maker/clip");
      hub.requests = [];
      hub.instead = instead;
      const { data, said } = await line.embed("maker/clip", env);
      assert.deepEqual(data, wanted, said);
      if (instead) assert.match(said, new RegExp(`using what is stored of maker/clip \\(${COMMIT}\\)`));
      else assert.deepEqual([hub.requests, said], [[], ""]);
      for (const other of ["maker/clip@v1", "maker/clip/other.gguf", "maker/other"]) {
        const { code, said } = await line.run(["embed", "--model", other, "--text", "a"], env);
        assert.ok(code !== 0 && /\[(network|http_status)\]/.test(said), said);
      }
    });
  }
});

describe("nothing is stored, and the error says what to do, for", () => {
  /** @type {[what: string, source: string, env: Record<string, string>, code: string, message: RegExp][]} */
  const cases = [
    ["a name that does not exist", "maker/clap", {}, "model_not_found", /maker\/clap is no file here: there is no model maker\/clap on .+ or it is private: check its name, or set HF_TOKEN/],
    ["a private model without a token", "maker/private", {}, "model_not_found", /or it is private/],
    ["a wrong token", "maker/private", { HF_TOKEN: "hf_wrong" }, "access_denied", /refuses the token for maker\/private: it is wrong, has expired/],
    ["a token that is none", "maker/private", { HF_TOKEN: "hf wrong" }, "invalid_input", /HF_TOKEN is not a token/],
    ["a gated model without a token", "maker/gated", {}, "access_denied", /is given only to those who accept its terms: do so at .+\/maker\/gated and set HF_TOKEN/],
    ["a gated model and another's token", "maker/gated", { HF_TOKEN: STRANGER }, "access_denied", /do so at .+\/maker\/gated with the account of this token/],
    ["a revision that is gone", "maker/clip@v0", {}, "model_not_found", /maker\/clip on .+ has no such revision \(.+v0/],
    ["a file that is not in the repository", "maker/clip/other.gguf", {}, "model_not_found", /maker\/clip has no file other\.gguf; it has demo_ggml/],
    ["ONNX only", "xenova/clip", {}, "unsupported_model", /has ONNX files only.+: maker\/clip /],
    ["no weights", "maker/nothing", {}, "not_a_model", /maker\/nothing has no weights/],
    ["a data set", "https://huggingface.co/datasets/maker/photos", {}, "not_a_model", /not the name or the address of a model/],
    ["an address elsewhere", "https://example.org/model.gguf", {}, "invalid_input", /is not on the Hub, and is not fetched: download the file/],
    ["a mirror that is none", "maker/clip", { HF_ENDPOINT: "a mirror" }, "invalid_input", /HF_ENDPOINT is "a mirror"/],
  ];
  for (const [what, source, env, code, message] of cases) {
    test(what, async () => {
      const { said } = await line.run(["embed", "--model", source, "--text", "a"], env);
      assert.match(said, message);
      assert.ok(said.includes(`[${code}]`), said);
      assert.deepEqual(line.stored(), []);
    });
  }

  /** @type {[what: string, body: string, code: string][]} */
  const bodies = [
    ["a listing that is HTML", "<!doctype html><title>Sign in</title>", "not_json"],
    ["a listing without files", '{"id": "maker/clip"}', "not_json"],
    ["a listing that is null", "null", "not_json"],
    ["a listing whose commit is a path", '{"sha": "../../..", "siblings": []}', "not_json"],
    ["a listing of files elsewhere", JSON.stringify({ sha: COMMIT, siblings: [{ rfilename: "../../../model-q8_0.gguf" }] }), "not_a_model"],
  ];
  for (const [what, body, code] of bodies) {
    test(what, async () => {
      hub.instead = (_request, response) => void response.writeHead(200).end(body);
      const { said } = await line.run(["embed", "--model", "maker/clip", "--text", "a"]);
      assert.ok(said.includes(`[${code}]`), said);
      assert.deepEqual(line.stored(), []);
    });
  }

  test("a type that is not there, or that nobody can choose", async () => {
    const type = (/** @type {string} */ model) => line.run(["embed", "--model", model, "--type", "q4_0", "--text", "a"]);
    assert.match((await type("maker/clip")).said, /maker\/clip has no GGUF of type q4_0; it has q8_0/);
    assert.match((await type(DEMO)).said, /--type is for a model by its name/);
  });

  test("a GGUF that is to be converted", async () => {
    const { said } = await line.run(["convert", "maker/clip", "-o", join(line.folder, "out.gguf")]);
    assert.match(said, /is a GGUF already.+\[invalid_input\]/);
    assert.ok(!existsSync(join(line.folder, "out.gguf")));
  });
});

test("a web page in place of a model is refused", async () => {
  assert.match((await line.run(["embed", "--model", "maker/page", "--text", "a"])).said, /web page.+\[not_a_model\]/);
});

describe("a download whose connection ends", () => {
  test("goes on where it ended", async () => {
    hub.cutAfter = 1_000_000;
    assert.deepEqual((await line.embed("maker/clip")).data, wanted);
    assert.equal(hub.stored.length, 3, "2.4 MB");
    assert.deepEqual(leftovers(), []);
  });

  test("fails if it ends again and again, and goes on the next time", async () => {
    hub.cutAfter = 100_000;
    const { said } = await line.run(["embed", "--model", "maker/clip", "--text", "a"]);
    assert.match(said, /the connection ended after 500000 bytes of .+\[network\]/);
    assert.ok(!line.stored().some((path) => path.includes("snapshots") || path.includes("refs")));
    hub.cutAfter = null;
    hub.stored = [];
    assert.deepEqual((await line.embed("maker/clip")).data, wanted);
    assert.equal(hub.stored.length, 1);
    assert.deepEqual(leftovers(), []);
  });

  test("begins again if the server has no ranges", async () => {
    hub.cutAfter = 100_000;
    await line.run(["embed", "--model", "maker/clip", "--text", "a"]);
    Object.assign(hub, { cutAfter: null, ranges: false });
    assert.deepEqual((await line.embed("maker/clip")).data, wanted);
    assert.deepEqual(leftovers(), []);
  });

  test("begins again if what is stored is longer than the file", async () => {
    await line.embed("maker/clip");
    const blob = String(line.stored().find((path) => path.includes("/blobs/")));
    rmSync(join(line.home, "hub/models--maker--clip/snapshots"), { recursive: true });
    writeFileSync(`${blob}.incomplete`, Buffer.concat([readFileSync(blob), Buffer.from("more")]));
    rmSync(blob);
    assert.deepEqual((await line.embed("maker/clip")).data, wanted);
    assert.deepEqual(leftovers(), []);
  });

  test("leaves nothing of a file with a flipped bit", async () => {
    const bytes = readFileSync(DEMO);
    hub.repositories = { "maker/clip": { files: { [GGUF]: bytes } } };
    hub.cutAfter = 1_000_000;
    const first = line.run(["embed", "--model", "maker/clip", "--text", "a"]);
    while (hub.stored.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    bytes.writeUInt8(bytes.readUInt8(2_000_000) ^ 1, 2_000_000);
    assert.match((await first).said, /its SHA-256 is .+ is expected; load it again.*\[corrupt_model\]/);
    assert.ok(!line.stored().some((path) => path.includes("blobs/")));
  });
});

test("two processes at a time download and convert once", async () => {
  const both = await Promise.all([line.embed("maker/checkpoint"), line.embed("maker/checkpoint")]);
  for (const { data } of both) assert.deepEqual(data, wanted);
  assert.equal(both.filter(({ said }) => said.includes("converting")).length, 1);
  assert.equal(hub.stored.length, 1);
});
