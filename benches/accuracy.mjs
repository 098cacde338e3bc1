// Compares each contestant's vectors with those of Hugging Face transformers in f32, for eight photos and their
// captions.

import { join } from "node:path";
import { readTensors } from "../tests/browser/support/safetensors.mjs";
import { cosine } from "../tests/browser/support/vectors.mjs";
import { ContestantPage, REPOSITORY, withBrowser } from "./browser.mjs";
import { CONTESTANTS } from "./cases.mjs";
import { VIT_B_32 } from "./page/models.js";

/** @import { Hosts } from "./browser.mjs" */
/** @import { Name } from "./page/contestants.js" */

/** @typedef {{ image: number[], text: number[] }} Cosines one for each input */

const PAIRS = 8;

/**
 * @param {Hosts} hosts
 * @returns {Promise<Partial<Record<Name, Cosines>>>}
 */
export async function measureAccuracy(hosts) {
  const expected = readTensors(join(REPOSITORY, "tests/fixtures/towers/vit-b-32.safetensors"));
  const [images, texts] = [expected("gelu.f32.image"), expected("gelu.f32.text")];
  return withBrowser(async (context) => {
    /** @type {Partial<Record<Name, Cosines>>} */
    const cosines = {};
    for (const name of CONTESTANTS) {
      const page = await ContestantPage.create(context, hosts.plain(name), name);
      await page.open(name, { model: VIT_B_32, towers: ["image", "text"] });
      await page.prepare();
      /** @type {Cosines} */
      const found = { image: [], text: [] };
      // One by one, because a library that quantises activations per tensor is less exact with a batch.
      for (let pair = 0; pair < PAIRS; pair++) {
        const image =
          name === "onnxruntime-web"
            ? await page.vectors("imageTower", [pair, 1])
            : await page.vectors("embedImage", [pair + 1]);
        const text = await page.vectors(name === "onnxruntime-web" ? "textTower" : "embedText", [`reference ${pair}`]);
        found.image.push(cosine(image[0] ?? [], images[pair] ?? []));
        found.text.push(cosine(text[0] ?? [], texts[pair] ?? []));
      }
      cosines[name] = found;
      await page.close();
    }
    return cosines;
  });
}
