// The API's results beside vectors: tokens, cosines, classes, a model's info; and the options that change vectors.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { similarity } from "../../../www/lib/client/similarity.js";
import { FIXTURES, REPOSITORY, Site } from "../support/browser.mjs";
import { codeOf, openApi, written } from "../support/loads.mjs";
import { cosine, largestDifference, norm } from "../support/vectors.mjs";

/** @import { Page } from "playwright-core" */
/** @import { Classification, ClassifyOptions, EmbedProgress, ImageOptions, LoadOptions } from "../../../www/clip.js" */

const DEMO = readFileSync(join(REPOSITORY, "www/models/demo.gguf"));
const DEMO_SHA256 = createHash("sha256").update(DEMO).digest("hex");
const IMAGES = join(REPOSITORY, "tests/fixtures/images");
/** Captions of the first sample: the right one, and wrong ones. */
const LABELS = ["two green squares", "three red hearts", "a yellow moon", "the letter a"];
const HEARTS = "samples/hearts.png";

/** @type {Site} */
let site;
/** @type {Page} a page with the demo model in `clip`, and a model with CLIP's vocabulary in `tiny` */
let page;
/** @type {(() => Promise<void>)[]} */
const endings = [];
before(async () => {
  site = await Site.open();
  page = (await site.newPage({ after: (/** @type {any} */ ending) => void endings.push(ending) })).page;
  page.setDefaultTimeout(120_000);
  for (const name of ["orientation_1.png", "orientation_6.png", "orientation_6.jpg", "orientation_1.jpg"]) {
    site.own.answer(`/images/${name}`, (_request, response) => void response.end(readFileSync(join(IMAGES, name))));
  }
  site.own.answer("/images/cat.avif", (_request, response) => void response.end(readFileSync(join(FIXTURES, "cat.avif"))));
  await openApi(page);
  await page.evaluate(
    async ({ tinyUrl, HEARTS }) => {
      window.clip = await window.ClipEncoder.load("/models/demo.gguf");
      window.tiny = await window.ClipEncoder.load(tinyUrl, { towers: ["text"] });
      window.HEARTS = HEARTS;
    },
    { tinyUrl: `${site.hub.origin}/tiny-gelu.q8_0.gguf`, HEARTS },
  );
});
after(async () => {
  for (const ending of endings) await ending();
  await site.close();
});

/** @param {number[]} logits */
function softmax(logits) {
  const powers = logits.map((logit) => Math.exp(logit - Math.max(...logits)));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

describe("tokens", () => {
  test("are the same as Hugging Face's, truncated and counted in the same way", async () => {
    const { cases } = JSON.parse(readFileSync(join(REPOSITORY, "tests/fixtures/tokens.json"), "utf8"));
    /** @type {string[]} */
    const texts = cases.map((/** @type {any} */ { text }) => text);
    const tokenized = await page.evaluate((texts) => window.tiny.tokenize(texts), texts);
    assert.equal(tokenized.length, cases.length);
    for (const [i, { text, ids, count }] of cases.entries()) {
      assert.deepEqual(tokenized[i], { ids, count, truncated: count > 77 }, `text ${i}: ${text.slice(0, 60)}`);
    }
    assert.ok(tokenized.some(({ truncated }) => truncated));
  });

  test("depend on the model: the demo's context has 32 tokens", async () => {
    const [tokens] = await page.evaluate(() => window.clip.tokenize(["a ".repeat(50)]));
    assert.equal(tokens?.ids.length, 32);
    assert.deepEqual({ count: tokens.count, truncated: tokens.truncated }, { count: 52, truncated: true });
  });
});

describe("similarity", () => {
  test("is the cosine, for any lengths and any kind of list", () => {
    assert.equal(similarity([3, 4], [4, 3]), 0.96);
    assert.equal(similarity([30, 40], new Float32Array([4, 3])), 0.96);
    assert.equal(similarity([1, 0], [0, 2]), 0);
    assert.equal(similarity([1, 2, 2], [-2, -4, -4]), -1);
    assert.equal(similarity([0, 0], [1, 2]), 0);
  });

  test("of two lists is a matrix with a row for each vector of the first", () => {
    assert.deepEqual(similarity([[3, 4], [1, 0], [0, 5]], [new Float32Array([4, 3]), [0, 1]]), [[0.96, 0.8], [0.8, 0], [0.6, 1]]);
  });

  for (const [label, a, b, code] of /** @type {[string, any, any, string][]} */ ([
    ["two lengths", [1, 2], [1, 2, 3], "invalid_input"],
    ["a vector and a list", [1, 2], [[1, 2]], "invalid_input"],
    ["texts", ["a cat"], ["a dog"], "invalid_input"],
    ["nothing", undefined, [1], "invalid_input"],
    ["NaN", [NaN, 1], [1, 1], "invalid_input"],
    ["an empty vector", [], [1], "empty_input"],
    ["a list with an empty vector", [[]], [[1]], "empty_input"],
  ])) {
    test(`refuses ${label}: ${code}`, () => {
      assert.throws(() => similarity(a, b), { name: "ClipError", code });
    });
  }

  test("is exported together with the encoder", async () => {
    assert.equal(await page.evaluate(() => window.similarity([3, 4], [4, 3])), 0.96);
  });
});

describe("classify", () => {
  /** The vectors of the sample and of some texts. @param {string[]} texts */
  async function vectorsOf(texts) {
    return page.evaluate(async (texts) => {
      const { clip, HEARTS } = window;
      const [image = []] = (await clip.embedImage([HEARTS])).data;
      return { image, texts: (await clip.embedText(texts)).data };
    }, texts);
  }

  /** @param {ClassifyOptions} options */
  async function classes(options) {
    const all = await page.evaluate(({ options, LABELS }) => window.clip.classify([window.HEARTS], LABELS, options), { options, LABELS });
    const [found, ...others] = all;
    assert.ok(found);
    assert.deepEqual(others, []);
    return found;
  }

  /**
   * @param {Classification[]} found
   * @param {number[]} scores by label
   * @param {number} scale
   */
  function assertClasses(found, scores, scale) {
    const probabilities = softmax(scores.map((score) => scale * score));
    const order = scores.map((_, i) => i).toSorted((a, b) => Number(scores[b]) - Number(scores[a]));
    assert.deepEqual(found.map(({ label }) => label), order.map((i) => LABELS[i]));
    for (const [place, i] of order.entries()) {
      const { score, probability } = /** @type {Classification} */ (found[place]);
      assert.ok(Math.abs(score - Number(scores[i])) < 1e-6, `${LABELS[i]}: score ${score}, not ${scores[i]}`);
      assert.ok(Math.abs(probability - Number(probabilities[i])) < 1e-6, `${LABELS[i]}: probability ${probability}, not ${probabilities[i]}`);
    }
  }

  test("whole texts: cosines, and their softmax with the model's own scale; the right one wins", async () => {
    const { image, texts } = await vectorsOf(LABELS);
    const { logitScale } = await page.evaluate(() => window.clip.info);
    const found = await classes({ template: null });
    assertClasses(found, texts.map((text) => cosine(image, text)), logitScale);
    assert.equal(found[0]?.label, "three red hearts");
  });

  test("labels in a template, with another scale", async () => {
    for (const [options, template] of /** @type {const} */ ([
      [{}, "a photo of a {}"],
      [{ template: "{} and {}", logitScale: 7 }, "{} and {}"],
    ])) {
      const { image, texts } = await vectorsOf(LABELS.map((label) => template.replaceAll("{}", label)));
      const { logitScale } = await page.evaluate(() => window.clip.info);
      assertClasses(await classes(options), texts.map((text) => cosine(image, text)), "logitScale" in options ? options.logitScale : logitScale);
    }
  });

  test("several templates: the mean of their unit vectors", async () => {
    const templates = ["a drawing of {}", "{}", "a sketch: {}"];
    const { image, texts } = await vectorsOf(LABELS.flatMap((label) => templates.map((template) => template.replace("{}", label))));
    const scores = LABELS.map((_, i) => {
      const [first = [], ...others] = texts.slice(3 * i, 3 * i + 3).map((text) => text.map((value) => value / norm(text)));
      return cosine(image, first.map((value, j) => others.reduce((sum, other) => sum + Number(other[j]), value)));
    });
    assertClasses(await classes({ template: templates, logitScale: 100 }), scores, 100);
  });

  test("a label is inserted unchanged", async () => {
    const { image, texts } = await vectorsOf(["a $& b", "a {} b"]);
    const [found] = await page.evaluate(() => window.clip.classify([window.HEARTS], ["$&", "{}"], { template: "a {} b" }));
    const scores = new Map(found?.map(({ label, score }) => [label, score]));
    assert.ok(largestDifference([Number(scores.get("$&")), Number(scores.get("{}"))], texts.map((text) => cosine(image, text))) < 1e-6);
  });

  test("reports its progress, for texts and images", async () => {
    const progress = await page.evaluate(async () => {
      const { clip, HEARTS } = window;
      /** @type {EmbedProgress[]} */
      const progress = [];
      await clip.classify([HEARTS, HEARTS], ["a", "b"], { template: ["{}", "a {}"], onProgress: (told) => progress.push(told) });
      return progress;
    });
    assert.deepEqual(progress, [1, 2, 3, 4, 5, 6].map((done) => ({ done, total: 6 })));
  });
});

describe("a model's info", () => {
  test("has its scale, its preprocessing and its source", async () => {
    const { logitScale, preprocessing, size, sha256, source } = await page.evaluate(() => window.clip.info);
    const scale = Math.exp(3.845703125); // of the checkpoint's logit_scale
    assert.ok(Math.abs(logitScale - scale) < 1e-5, `${logitScale}, not ${scale}`);
    const { image_mean: mean, image_std: std, size: edge } = JSON.parse(
      readFileSync(join(REPOSITORY, "examples/demo_model/shapes-and-colours/preprocessor_config.json"), "utf8"),
    );
    const { shortest_edge: shortest } = edge;
    assert.ok(preprocessing);
    assert.deepEqual(
      { ...preprocessing, mean: preprocessing.mean.map(Math.fround), std: preprocessing.std.map(Math.fround) },
      {
        size: shortest,
        resize: "shortest",
        resizeTo: [shortest, shortest],
        interpolation: "bicubic",
        crop: "center",
        fillColor: [0, 0, 0],
        rescaleFactor: 1 / 255,
        mean: mean.map(Math.fround),
        std: std.map(Math.fround),
      },
    );
    assert.deepEqual({ size, sha256, source }, { size: DEMO.length, sha256: null, source: `${site.own.origin}/models/demo.gguf` });
  });

  test("has the scale 100 if the file does not give it, and no preprocessing without a vision tower", async () => {
    const { logitScale, preprocessing, towers, size } = await page.evaluate(() => window.tiny.info);
    assert.deepEqual({ logitScale, preprocessing, towers }, { logitScale: 100, preprocessing: null, towers: ["text"] });
    assert.equal(size, readFileSync(join(process.env.CLIP_TEST_DATA ?? join(REPOSITORY, "target/test-data"), "tiny-gelu.q8_0.gguf")).length);
  });

  test("has its SHA-256 if that was given: at this load, at the next, and for bytes without a URL", async () => {
    const infos = await page.evaluate(async (sha256) => {
      const url = "/models/demo.gguf?verified";
      const file = await (await fetch(url)).blob();
      const loads = [];
      for (const [source, options] of /** @type {[string | Blob, LoadOptions][]} */ ([[url, { sha256 }], [url, {}], [url, { towers: ["text"] }], [file, { sha256 }], [file, {}]])) {
        const clip = await window.ClipEncoder.load(source, options);
        loads.push([clip.info.sha256, clip.info.source, clip.info.size]);
        clip.close();
      }
      return loads;
    }, DEMO_SHA256.toUpperCase());
    const url = `${site.own.origin}/models/demo.gguf?verified`;
    assert.deepEqual(infos, [
      [DEMO_SHA256, url, DEMO.length],
      [DEMO_SHA256, url, DEMO.length],
      [DEMO_SHA256, url, DEMO.length],
      [DEMO_SHA256, null, DEMO.length],
      [null, null, DEMO.length],
    ]);
  });
});

describe("images are read as the options say", () => {
  /** @param {string} url @param {ImageOptions} [options] */
  const vector = async (url, options = {}) => (await page.evaluate(({ url, options }) => window.clip.embedImage([url], options), { url, options })).data[0];

  test("orientation: as EXIF says, or as stored", async () => {
    for (const kind of ["png", "jpg"]) {
      const stored = await vector(`/images/orientation_1.${kind}`);
      assert.notDeepEqual(await vector(`/images/orientation_6.${kind}`), stored);
      assert.deepEqual(await vector(`/images/orientation_6.${kind}`, { orientation: "ignore" }), stored, kind);
    }
  });

  test("orientation and alpha of an image that the browser decodes", async () => {
    const plain = await vector("/images/cat.avif");
    assert.deepEqual(await vector("/images/cat.avif", { orientation: "ignore", alpha: "white" }), plain, "it has neither");
  });

  test("alpha: dropped, or on white or black", async () => {
    /** The vector of a red disc on a colour, or on a transparent background. @param {string | null} over @param {ImageOptions} [options] */
    const disc = async (over, options = {}) => {
      const { data } = await page.evaluate(
        async ({ over, options }) => {
          const canvas = new OffscreenCanvas(72, 72);
          const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
          if (over !== null) {
            context.fillStyle = over;
            context.fillRect(0, 0, 72, 72);
          }
          const image = context.getImageData(0, 0, 72, 72);
          for (let i = 0; i < 72 * 72; i++) if (Math.hypot((i % 72) - 36, Math.floor(i / 72) - 36) < 25) image.data.set([255, 0, 0, 255], 4 * i);
          context.putImageData(image, 0, 0);
          return window.clip.embedImage([await canvas.convertToBlob()], options);
        },
        { over, options },
      );
      return data[0] ?? [];
    };
    const white = await disc("white");
    const black = await disc("black");
    assert.ok(cosine(white, black) < 0.99);
    assert.deepEqual(await disc(null, { alpha: "white" }), white);
    assert.deepEqual(await disc(null, { alpha: "black" }), black);
    assert.deepEqual(await disc(null), black, "the transparent pixels of a canvas are black");
  });

  test("embedEach and classify take the same options", async () => {
    const { each, ignored, exif } = await page.evaluate(async () => {
      const { clip } = window;
      /** @type {ImageOptions} */
      const options = { orientation: "ignore" };
      const image = "/images/orientation_6.png";
      const { value } = await clip.embedEach([image], options).next();
      const scores = async (/** @type {string} */ image, /** @type {ImageOptions} */ options = {}) => (await clip.classify([image], ["a", "b"], options))[0]?.map(({ score }) => score);
      return { each: value && "vector" in value && [...value.vector], ignored: await scores(image, options), exif: await scores("/images/orientation_1.png") };
    });
    assert.deepEqual(each, await vector("/images/orientation_1.png"));
    assert.deepEqual(ignored, exif);
  });
});

describe("progress and bad calls", () => {
  test("embedText and embedImage report each input that is done", async () => {
    const told = await page.evaluate(async () => {
      const { clip, HEARTS } = window;
      /** @type {string[]} */
      const told = [];
      const onProgress = (/** @type {EmbedProgress} */ { done, total }) => told.push(`${done} of ${total}`);
      await clip.embedText(["a", "b"], { onProgress });
      await clip.embedImage([HEARTS, HEARTS, HEARTS], { onProgress });
      return told;
    });
    assert.deepEqual(told, ["1 of 2", "2 of 2", "1 of 3", "2 of 3", "3 of 3"]);
  });

  for (const [call, code] of /** @type {[(globals: any) => Promise<unknown>, string][]} */ ([
    [({ clip }) => clip.tokenize("a cat"), "invalid_input"],
    [({ clip }) => clip.tokenize([]), "empty_input"],
    [({ clip }) => clip.tokenize(["a", null]), "invalid_input"],
    [({ clip }) => clip.tokenize(["a"], { signal: AbortSignal.abort() }), "aborted"],
    [({ clip }) => clip.classify([], ["a"]), "empty_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], []), "empty_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], "a cat"), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { template: "a photo" }), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { template: [] }), "empty_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { template: 7 }), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { logitScale: 0 }), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { logitScale: "100" }), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { alpha: "grey" }), "invalid_input"],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a"], { signal: AbortSignal.abort() }), "aborted"],
    [({ clip }) => clip.classify([new Blob(["no image"])], ["a"]), "unsupported_image"],
    [({ tiny, HEARTS }) => tiny.classify([HEARTS], ["a"]), "missing_tower"],
    [({ clip, HEARTS }) => clip.embedImage([HEARTS], { orientation: "up" }), "invalid_input"],
    [({ clip, HEARTS }) => clip.embedImage([HEARTS], { alpha: true }), "invalid_input"],
    [({ clip, HEARTS }) => clip.embedEach([HEARTS], { alpha: null }).next(), "invalid_input"],
  ])) {
    test(`${written(call)}: ${code}`, async () => {
      assert.equal(await codeOf(page, call), code);
    });
  }

  for (const [call, index, message] of /** @type {[(globals: any) => Promise<unknown>, number | undefined, RegExp][]} */ ([
    [({ clip, HEARTS }) => clip.embedImage([HEARTS, HEARTS, new Blob(["no image"])]), 2, /^input 2: this is text, not an image/],
    [({ clip }) => clip.embedImage([new Blob(["no image"])]), 0, /^this is text, not an image/],
    [({ clip }) => clip.embedText(["a", 7]), 1, /^input 1 is a number/],
    [({ clip }) => clip.embedText([...Array(40).fill("a"), "a".repeat(1_000_001)]), 40, /^input 40: 1000001 bytes of a text/],
    [({ clip }) => clip.embedText(["a", "é".repeat(600_000)]), 1, /^input 1: .*1200000/],
    [({ clip }) => clip.tokenize(["a", "a".repeat(1_000_001)]), 1, /^input 1: 1000001 bytes of a text/],
    [({ clip, HEARTS }) => clip.classify([HEARTS, new Blob(["no image"])], ["a"]), 1, /^input 1: this is text/],
    [({ clip, HEARTS }) => clip.classify([HEARTS], ["a", "a".repeat(1_000_001)], { template: ["{}", "b {}"] }), 1, /^label 1: 1000001 bytes of a text/],
    [({ tiny, HEARTS }) => tiny.embedImage([HEARTS, HEARTS]), undefined, /^(?!input)/],
    [({ clip, HEARTS }) => clip.embedImage([HEARTS, HEARTS], { signal: AbortSignal.abort() }), undefined, /^the call was aborted/],
  ])) {
    test(`${written(call)}: the error is that of input ${index}`, async () => {
      /** @type {{ index?: number, message: string }} */
      const error = await page.evaluate(`(${call})(window).then(() => ({ message: "no error" }), ({ index, message }) => ({ index, message }))`);
      assert.match(error.message, message);
      assert.equal(error.index, index);
    });
  }
});
