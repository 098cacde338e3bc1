// In every engine: the first screen, the comparison, the search and the check.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { TEST_DATA } from "../support/browser.mjs";
import { cosine } from "../support/vectors.mjs";
import { CAPTIONS, PICTURES } from "./expected.mjs";

/** @import { Case } from "./visit.mjs" */

const DRAWN = join(TEST_DATA, "demo");
/** @type {{ file: string, caption: string }[]} */
const DRAWINGS = JSON.parse(readFileSync(join(DRAWN, "cases.json"), "utf8"))["shapes-0"].slice(0, 12);

/** @type {Case[]} */
export const VIEWS = [
  {
    name: "the first screen has the model, the inputs and the first result, on a phone too",
    options: { samples: true },
    async run({ visit }) {
      for (const [width, height] of /** @type {[number, number][]} */ ([[1280, 800], [390, 844]])) {
        // In a frame, because a browser's own window may not be that small.
        visit.own.answer("/frame.html", (_request, response) => {
          response.writeHead(200, { "content-type": "text/html" });
          response.end(`<!doctype html><title>Frame</title><link rel=icon href=data:,><iframe src="./" width="${width}" height="${height}"></iframe>`);
        });
        await visit.go("/frame.html");
        await visit.waitFor("the first result", () => visit.evaluate(() => document.querySelector("iframe")?.contentDocument?.querySelector("#comparison .verdict") !== null), 40_000);
        const below = await visit.evaluate((width, height) => {
          const frame = /** @type {HTMLIFrameElement} */ (document.querySelector("iframe"));
          const page = /** @type {Document} */ (frame.contentDocument);
          frame.width = String(2 * width - page.documentElement.clientWidth); // a phone's scroll bar takes no room
          const parts = ["h1", "#model-state", "#model-facts", "#model-change", ".drop", "#sample-list button", "#texts", "#embed", "#comparison .verdict", "#comparison tbody tr"];
          return parts.filter((part) => !(Number(page.querySelector(part)?.getBoundingClientRect().bottom) <= height));
        }, width, height);
        assert.deepEqual(below, [], `${width} x ${height}`);
        const wide = await visit.evaluate(() => Number(document.querySelector("iframe")?.contentDocument?.documentElement.scrollWidth));
        assert.ok(wide <= width, `${wide} pixels wide, in ${width}`);
      }
    },
  },
  {
    name: "pictures alone are grouped, texts alone compared, and a model of English texts says so",
    async run({ visit }) {
      const files = [0, 0, 1, 1].map((index) => join(DRAWN, `${DRAWINGS[index]?.file}.png`));
      await visit.choose("#image-files", [...new Set(files)]);
      await visit.choose("#image-files", [...new Set(files)]);
      await visit.embed();
      const groups = await visit.evaluate(() => [...document.querySelectorAll("#comparison .group")].map((group) => [...group.querySelectorAll(".name")].map((name) => name.textContent)));
      assert.deepEqual(groups, [0, 1].map((index) => Array(2).fill(`${DRAWINGS[index]?.file}.png`)));
      await visit.click("#images-clear");
      await visit.loadTinyModel();
      await visit.says("#texts-hint", /^one per line, in English$/);
      await visit.fill("#texts", CAPTIONS.join("\n"));
      const { data } = await visit.embed();
      const shown = (await visit.texts("#comparison td")).map(Number.parseFloat).filter(Number.isFinite);
      assert.deepEqual(shown, Array(2).fill(Number(cosine(data[0], data[1]).toFixed(3))));
    },
  },
  {
    name: "the comparison shows the cosine of each picture with each text",
    async run({ visit }) {
      await visit.loadTinyModel();
      await visit.fill("#texts", CAPTIONS.join("\n"));
      await visit.choose("#image-files", PICTURES.slice(0, 2));
      const { data } = await visit.embed();
      const [texts, images] = [data.slice(0, 2), data.slice(2)];
      const wanted = texts.flatMap((/** @type {number[]} */ text) => images.map((/** @type {number[]} */ image) => Number(cosine(text, image).toFixed(3))));
      const shown = (await visit.texts("#comparison tbody td .cosine")).map((text) => Number(/-?\d\.\d+/.exec(text)?.[0]));
      assert.deepEqual(shown, wanted);
    },
  },
  {
    name: "pictures are indexed, found by words and by a picture, and still there on the next visit",
    async run({ visit }) {
      await visit.go("/#/search");
      await visit.says("#search-state", /^Nothing is indexed for shapes-and-colours/);
      await visit.choose("#search-files", DRAWINGS.map(({ file }) => join(DRAWN, `${file}.png`)));
      await visit.says("#search-state", /^12 pictures indexed/, 40_000);
      const search = async (/** @type {string} */ text) => {
        await visit.fill("#search-text", text);
        await visit.click("#search-form [type=submit]");
        await visit.says("#search-summary", new RegExp(`fit “${text}”, searched in`));
        return visit.texts("#search-hits .name");
      };
      const { file, caption } = /** @type {{ file: string, caption: string }} */ (DRAWINGS[0]);
      const found = await search(caption);
      assert.equal(found.length, 12);
      assert.equal(found[0], `${file}.png`);
      await visit.fill("#search-text", "");
      await visit.choose("#search-picture", [join(DRAWN, `${DRAWINGS[5]?.file}.png`)]);
      await visit.says("#search-summary", new RegExp(`fit ${DRAWINGS[5]?.file}`));
      assert.equal((await visit.texts("#search-hits .name"))[0], `${DRAWINGS[5]?.file}.png`);
      await visit.waitFor("thumbnails are shown", () => visit.evaluate(() => [...document.querySelectorAll("#search-hits img")].every((image) => /** @type {HTMLImageElement} */ (image).naturalWidth > 0)));
      await visit.revisit();
      await visit.says("#search-state", /^12 pictures indexed/);
      assert.deepEqual(await search(caption), found);
    },
  },
  {
    name: "pictures are found by words with a picture and without something, duplicates by themselves, and an index is imported",
    async run({ visit, scratch }) {
      await visit.go("/#/search");
      await visit.says("#search-state", /^Nothing is indexed for shapes-and-colours/);
      const files = DRAWINGS.slice(0, 6).map(({ file }) => join(DRAWN, `${file}.png`));
      const copy = scratch("copy.png", readFileSync(String(files[2])));
      await visit.choose("#search-files", [...files, copy]);
      await visit.says("#search-state", /^7 pictures indexed/, 40_000);
      await visit.fill("#search-text", "a star");
      await visit.fill("#search-less", "a blue background");
      await visit.choose("#search-picture", [String(files[2])]);
      await visit.says("#search-summary", new RegExp(`fit “a star” and ${DRAWINGS[2]?.file}\\.png without “a blue background”, searched in \\d+ ms\\. The scores are sums`));
      assert.equal((await visit.texts("#search-hits .name")).length, 7);
      await visit.click("#search-duplicates");
      await visit.says("#search-summary", /^1 group of pictures with a cosine of 0\.97 or more/);
      assert.deepEqual((await visit.texts("#search-hits .name")).toSorted(), ["copy.png", `${DRAWINGS[2]?.file}.png`].toSorted());

      const index = await visit.evaluate(async () => {
        const { markOf, writeIndex } = await import("/page/search/index-file.js");
        const { sha256 } = (await (await fetch("/models.json")).json())[0];
        const model = await markOf({ key: sha256, name: "shapes-and-colours · q8_0" });
        const entries = [{ folder: "Elsewhere", path: "imported.png", size: 1, lastModified: 2 }];
        const parts = await writeIndex({ model, dimension: 128, entries, vectors: new Float32Array(128).fill(Math.sqrt(1 / 128)) });
        return parts.flatMap((part) => [...part]);
      });
      await visit.click("#search-exchange summary");
      await visit.choose("#index-import", [scratch("index.npy", Buffer.from(index))]);
      await visit.says("#search-state", /^8 pictures indexed/);
    },
  },
  {
    name: "the check gives the same cosines as transformers on this device",
    async run({ visit }) {
      await visit.go("/#/check");
      await visit.waitFor("the view is shown", () => visit.isVisible("#check-start"));
      await visit.click("#check-start");
      await visit.waitFor("the table is shown", async () => (await visit.text("#check-result table")) !== "", 60_000);
      assert.match(await visit.text("#check-result .note"), /^This device and this file give the cosines of the demo model as transformers computes it: of 72, none differs by more than 0\.0\d+/);
      assert.deepEqual(await visit.texts("#check-result .differs"), []);
    },
  },
];
