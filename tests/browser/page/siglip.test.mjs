// The page with a SigLIP, whose cosines mean something else than a CLIP's.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PHOTOS, REPOSITORY, Site } from "../support/browser.mjs";

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

const FOLDER = join(REPOSITORY, "tests/fixtures/siglip");
/** @type {{ texts: { text: string }[], photos: string[], logitsPerImage: number[][] }} */
const EXPECTED = JSON.parse(readFileSync(join(FOLDER, "expected.json"), "utf8"));

test("the comparison says of each text by itself how likely it fits", { timeout: 120_000 }, async (t) => {
  const clip = await site.newPage(t);
  for (const file of readdirSync(FOLDER)) {
    site.own.answer(`/siglip/${file}`, (_request, response) => {
      response.writeHead(200).end(readFileSync(join(FOLDER, file)));
    });
  }
  await clip.loadUrl(`${site.own.origin}/siglip/model.safetensors`);
  await clip.ready();
  const photo = EXPECTED.photos[1] ?? "";
  await clip.pickImages([join(PHOTOS, photo)]);
  await clip.texts.fill(EXPECTED.texts[0]?.text ?? "");
  await clip.embed();
  const about = clip.page.locator("#comparison .about");
  assert.match(String(await about.textContent()), /sigmoid of 119\.3 × cosine − 5\), each by itself: several may fit, or none\. Half is reached at a cosine of 0\.042\./);
  const cell = String(await clip.page.locator("#comparison tbody td").first().textContent());
  const wanted = 100 / (1 + Math.exp(-Number(EXPECTED.logitsPerImage[1]?.[0])));
  const shown = Number(/([\d.]+) %/.exec(cell)?.[1]);
  // The page's weights are q8_0.
  assert.ok(Math.abs(shown - wanted) < 15, `${cell}, where ${wanted.toFixed(1)} % is expected`);
});
