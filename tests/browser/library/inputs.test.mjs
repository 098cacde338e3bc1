// What people have in hand as an image: each gives the vector of the PNG file with the same pixels.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site } from "../support/browser.mjs";
import { openApi } from "../support/loads.mjs";
import { file, status } from "../support/server.mjs";

/** @import { Page } from "playwright-core" */
/** @import { ImageOptions, ImageSource } from "../../../www/clip.js" */

/** @type {Site} */
let site;
/** @type {Page} */
let page;
/** @type {(() => Promise<void>)[]} */
const ends = [];

before(async () => {
  site = await Site.open();
  page = await site.emptyPage({ after: (end) => void ends.push(/** @type {() => Promise<void>} */ (end)) });
  await openApi(page);
  await page.evaluate(async (url) => {
    window.clip = await window.ClipEncoder.load(url);
  }, `${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  for (const name of ["cat.png", "faint.png", "rocket.jpg"]) site.own.answer(`/${name}`, file(join(FIXTURES, name)));
});
after(async () => {
  for (const end of ends) await end();
  await site.close();
});

/**
 * The vectors of two images, each made by a function that runs in the page.
 * @param {() => ImageSource | Promise<ImageSource>} make
 * @param {() => ImageSource | Promise<ImageSource>} makeWanted
 * @param {ImageOptions} [options]
 */
async function both(make, makeWanted, options = {}) {
  return page.evaluate(
    async ({ sources, options }) => {
      const vectors = [];
      for (const source of sources) {
        const image = await new Function(`return (${source})()`)();
        vectors.push(await window.told(window.clip.embedImage([image], options)));
      }
      return vectors;
    },
    { sources: [String(make), String(makeWanted)], options },
  );
}

/** The file of cat.png. */
const cat = () => window.cat;

/** Runs in the page: a canvas with the pixels of a file. @param {string} url @param {HTMLCanvasElement | OffscreenCanvas} canvas */
const DRAW = `async (url, canvas) => {
  const bitmap = await createImageBitmap(await (await fetch(url)).blob());
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas;
}`;

describe("an opaque image", () => {
  before(async () => {
    await page.evaluate((draw) => void Object.assign(window, { draw: new Function(`return ${draw}`)() }), DRAW);
  });

  /** @type {Record<string, () => any>} */
  const sources = {
    "a File": () => new File([window.cat], "cat"),
    "an ArrayBuffer": () => window.cat.buffer,
    "a part of a buffer": () => {
      const larger = new Uint8Array(window.cat.length + 20);
      larger.set(window.cat, 10);
      return larger.subarray(10, 10 + window.cat.length);
    },
    "a DataView": () => new DataView(window.cat.buffer),
    "a blob: URL": () => URL.createObjectURL(new Blob([window.cat])),
    "a data: URL": () => `data:image/png;base64,${btoa(String.fromCharCode(...window.cat))}`,
    "a data: URL without a type": () => `data:;base64,${btoa(String.fromCharCode(...window.cat))}`,
    "a relative URL": () => "cat.png",
    "a URL object": () => new URL("/cat.png", location.href),
    "a Response": () => fetch("/cat.png"),
    "a ReadableStream": () => new Blob([window.cat]).stream(),
    "a file handle": async () => {
      const folder = await navigator.storage.getDirectory();
      const handle = await folder.getFileHandle("cat", { create: true });
      const writable = await handle.createWritable();
      await writable.write(window.cat);
      await writable.close();
      return handle;
    },
    "a canvas": () => /** @type {any} */ (window).draw("/cat.png", document.createElement("canvas")),
    "an OffscreenCanvas": () => /** @type {any} */ (window).draw("/cat.png", new OffscreenCanvas(1, 1)),
    "an ImageData": async () => {
      const canvas = await /** @type {any} */ (window).draw("/cat.png", new OffscreenCanvas(1, 1));
      return canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    },
    "RGBA pixels": async () => {
      const canvas = await /** @type {any} */ (window).draw("/cat.png", new OffscreenCanvas(1, 1));
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { data: new Uint8Array(data), width, height };
    },
    "RGB pixels": async () => {
      const canvas = await /** @type {any} */ (window).draw("/cat.png", new OffscreenCanvas(1, 1));
      const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      return { data: data.filter((/** @type {number} */ _, /** @type {number} */ i) => i % 4 < 3), width, height };
    },
    "an ImageBitmap": () => createImageBitmap(new Blob([window.cat])),
    "an <img>": () => Object.assign(new Image(), { src: "/cat.png" }),
    "an <img> that has not been loaded, of a blob: URL": () => Object.assign(new Image(), { src: URL.createObjectURL(new Blob([window.cat])) }),
    "a VideoFrame": async () => new VideoFrame(await createImageBitmap(new Blob([window.cat])), { timestamp: 0 }),
  };
  for (const [name, make] of Object.entries(sources)) {
    test(name, async () => {
      const [vector, wanted] = await both(make, cat);
      assert.equal(wanted?.length, 64, String(wanted));
      assert.deepEqual(vector, wanted);
    });
  }

  test("grey pixels", async () => {
    const [vector, wanted] = await both(
      () => ({ data: Uint8Array.from({ length: 64 * 48 }, (_, i) => i % 251), width: 64, height: 48 }),
      () => new ImageData(Uint8ClampedArray.from({ length: 4 * 64 * 48 }, (_, i) => (i % 4 === 3 ? 255 : (i >> 2) % 251)), 64, 48),
    );
    assert.deepEqual(vector, wanted);
  });

  test("an <img> of a JPEG: as exactly as its file", async () => {
    const [vector, wanted] = await both(() => Object.assign(new Image(), { src: "/rocket.jpg" }), () => "/rocket.jpg");
    assert.deepEqual(vector, wanted);
  });

  test("an <img> of an SVG: as the browser draws it", async () => {
    const [vector, wanted] = await both(
      () => Object.assign(new Image(), { src: `data:image/svg+xml,${encodeURIComponent('<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="64" height="64" fill="#c86432"/></svg>')}` }),
      () => new ImageData(Uint8ClampedArray.from({ length: 4 * 64 * 64 }, (_, i) => Number([200, 100, 50, 255][i % 4])), 64, 64),
    );
    assert.deepEqual(vector, wanted);
  });

  test("values of another realm", async () => {
    const vectors = await page.evaluate(async () => {
      const frame = document.createElement("iframe");
      document.body.append(frame);
      const other = /** @type {any} */ (frame.contentWindow);
      const canvas = await /** @type {any} */ (window).draw("/cat.png", other.document.createElement("canvas"));
      const bytes = new other.Uint8Array(window.cat);
      const images = [
        new other.File([bytes], "cat.png"), new other.Blob([bytes]), bytes, bytes.buffer, new other.URL("/cat.png", location.href),
        canvas, canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height), await other.createImageBitmap(new other.Blob([bytes])),
      ];
      return (await window.clip.embedImage(images)).data;
    });
    assert.equal(vectors.length, 8);
    for (const [index, vector] of vectors.entries()) assert.deepEqual(vector, vectors[2], `image ${index}`);
  });
});

describe("a transparent image", () => {
  /** @type {ImageOptions[]} */
  const ways = [{}, { alpha: "white" }, { alpha: "black" }];
  for (const options of ways) {
    const how = JSON.stringify(options);
    test(`a bitmap whose colours are not multiplied ${how}`, async () => {
      const [vector, wanted] = await both(
        async () => createImageBitmap(await (await fetch("/faint.png")).blob(), { premultiplyAlpha: "none", colorSpaceConversion: "none" }),
        () => "/faint.png",
        options,
      );
      assert.deepEqual(vector, wanted);
    });

    test(`a canvas: as the PNG that it saves ${how}`, async () => {
      const canvas = `async () => {
        const canvas = new OffscreenCanvas(64, 64);
        const context = canvas.getContext("2d");
        const image = context.createImageData(64, 64);
        for (let i = 0; i < 64 * 64; i++) image.data.set([i % 256, (7 * i) % 256, 255 - (i % 256), (3 * i) % 256], 4 * i);
        context.putImageData(image, 0, 0);
        return canvas;
      }`;
      const [vector, wanted, again] = await page.evaluate(
        async ({ canvas, options }) => {
          const made = await new Function(`return (${canvas})()`)();
          const vectors = [];
          for (const image of [made, await made.convertToBlob(), await createImageBitmap(made)]) vectors.push(await window.told(window.clip.embedImage([image], options)));
          return vectors;
        },
        { canvas, options },
      );
      assert.deepEqual(vector, wanted);
      assert.deepEqual(again, wanted);
    });
  }
});

describe("is refused, and the encoder goes on", () => {
  /** @type {[what: string, make: () => any, error: RegExp][]} */
  const cases = [
    ["pixels of another size", () => ({ data: new Uint8Array(10), width: 2, height: 2 }), /^invalid_input: 10 values are not the pixels of an image of 2 x 2/],
    ["pixels of no size", () => ({ data: new Uint8Array(0), width: 0, height: 0 }), /^invalid_input: 0 values are not the pixels/],
    ["pixels that are floats", () => ({ data: new Float32Array(16), width: 2, height: 2 }), /^invalid_input: the data of pixels is a value of type Float32Array/],
    ["floats without a size", () => new Float32Array(16), /^invalid_input: input 0 is a value of type Float32Array, not /],
    ["an object", () => ({}), /^invalid_input: input 0 is a value of type Object/],
    ["an empty canvas", () => new OffscreenCanvas(0, 0), /^unsupported_image: the OffscreenCanvas has no pixels/],
    ["an <img> without a source", () => new Image(), /^corrupt_image: the image element cannot show anything/],
    ["an <img> whose file is missing", () => Object.assign(new Image(), { src: "/missing.png" }), /^corrupt_image: the image element cannot show .+missing\.png/],
    ["a closed bitmap", async () => {
      const bitmap = await createImageBitmap(new ImageData(2, 2));
      bitmap.close();
      return bitmap;
    }, /^unsupported_image: this page may not read the pixels/],
    ["a Response with an error", () => fetch("/missing.png"), /^http_status: /],
    ["a Response that was read", async () => {
      const response = await fetch("/cat.png");
      await response.blob();
      return response;
    }, /^invalid_input: the body of the Response has been read already/],
    ["a stream that fails", () => new ReadableStream({ start: (controller) => controller.error(new Error("oh")) }), /^io: the stream of an image failed after 0 bytes/],
    ["a stream of texts", () => new ReadableStream({ start: (controller) => controller.enqueue("text") }), /^invalid_input: a chunk of the stream is a string, not bytes/],
    ["an empty text", () => "", /^invalid_input: expected a URL or a file, but got an empty text/],
    ["a data: URL that is damaged", () => "data:image/png;base64,#", /^invalid_input: the base64 of the data: URL/],
  ];
  for (const [what, make, error] of cases) {
    test(what, async () => {
      site.own.answer("/missing.png", status(404));
      const [told, wanted] = await both(make, cat);
      assert.match(String(told), error);
      assert.equal(wanted?.length, 64);
    });
  }

  test("a canvas with an image of another site", async () => {
    const origin = site.hub.origin;
    site.hub.answer("/foreign.png", (_request, response) => {
      response.removeHeader("access-control-allow-origin");
      response.writeHead(200, { "content-type": "image/png" }).end(readFileSync(join(FIXTURES, "cat.png")));
    });
    const told = await page.evaluate(async (url) => {
      const image = Object.assign(new Image(), { src: url });
      await image.decode();
      const canvas = document.createElement("canvas");
      canvas.getContext("2d")?.drawImage(image, 0, 0);
      return [await window.told(window.clip.embedImage([canvas])), await window.told(window.clip.embedImage([image]))];
    }, `${origin}/foreign.png`);
    for (const error of told) assert.match(String(error), /^unsupported_image: this page may not read the pixels of this picture: it is from another site/);
  });
});

describe("a source that goes silent", () => {
  /** @type {Record<string, () => any>} */
  const sources = {
    "a ReadableStream": () => new ReadableStream({ start: (controller) => controller.enqueue(window.cat.slice(0, 100)), cancel: () => void window.ended++ }),
    "a ReadableStream that does not answer": () => new ReadableStream({ cancel: () => (window.ended++, new Promise(() => {})) }),
    "a Response": () => new Response(new ReadableStream({ cancel: () => void window.ended++ })),
    "an iterable": () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}), return: async () => void window.ended++ }) }),
  };
  for (const [what, make] of Object.entries(sources)) {
    test(`${what} is left when the signal aborts, and when the encoder is closed`, { timeout: 30_000 }, async () => {
      const told = await page.evaluate(
        async ({ make, url }) => {
          const silent = new Function(`return ${make}`)();
          window.ended = 0;
          const clip = await window.ClipEncoder.load(url);
          const soon = (/** @type {AbortController} */ abort) => void setTimeout(() => abort.abort(), 50);
          const image = async () => {
            const abort = new AbortController();
            soon(abort);
            return codeOf(clip.embedImage([silent()], { signal: abort.signal }));
          };
          const each = async () => {
            const abort = new AbortController();
            const outcomes = clip.embedEach([window.cat, silent(), window.cat], { signal: abort.signal });
            const first = (await outcomes.next()).value?.index;
            soon(abort);
            return [first, await outcomes.next().then(() => outcomes.next()).then(() => null, ({ code }) => code)];
          };
          const codeOf = (/** @type {Promise<unknown>} */ call) => call.then(() => null, ({ code }) => code);
          const aborted = [await image(), await each()];
          const after = await clip.embedImage([window.cat]);
          const closed = codeOf(clip.embedImage([silent()]));
          setTimeout(() => clip.close(), 50);
          return { aborted, after: after.data.length, closed: await closed, ended: window.ended };
        },
        { make: String(make), url: `${site.hub.origin}/tiny-gelu.q8_0.gguf` },
      );
      assert.deepEqual(told, { aborted: ["aborted", [0, "aborted"]], after: 1, closed: "closed", ended: 3 });
    });
  }
});
