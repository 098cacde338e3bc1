// In every engine: the comparison, the search and the check work, and no view is wider than its window.

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
