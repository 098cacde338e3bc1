// The pictures that the README shows, taken from the running page: node tests/screenshots.mjs [DIRECTORY]

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY, Site } from "./page/browser.mjs";

/** @import { ClipPage } from "./page/browser.mjs" */
/** @import { BrowserContextOptions } from "playwright-core" */

/** @type {Record<string, { options?: BrowserContextOptions, reach: (clip: ClipPage) => Promise<unknown> }>} */
const PICTURES = {
  embed: { reach: firstResult },
  "embed-dark": { options: { colorScheme: "dark" }, reach: firstResult },
  "embed-phone": { options: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2 }, reach: firstResult },
  check: {
    async reach(clip) {
      await firstResult(clip);
      await clip.page.getByRole("link", { name: "Check" }).click();
      await clip.page.getByRole("button", { name: "Run the check" }).click();
      await clip.page.locator("#check-result table").waitFor();
    },
  },
};

const directory = process.argv[2] ?? join(REPOSITORY, "docs/images");
mkdirSync(directory, { recursive: true });
/** @type {(() => Promise<void>)[]} */
const ends = [];
const site = await Site.open();
try {
  for (const [name, { options, reach }] of Object.entries(PICTURES)) {
    const clip = await site.visit({ after: (end) => void ends.push(/** @type {() => Promise<void>} */ (end)) }, { viewport: { width: 1280, height: 1000 }, ...options });
    await reach(clip);
    await clip.page.screenshot({ path: join(directory, `${name}.png`) });
    console.log(`${name}.png`);
  }
} finally {
  for (const end of ends) await end();
  await site.close();
}

/** @param {ClipPage} clip */
async function firstResult(clip) {
  await clip.page.locator("#comparison .verdict").waitFor();
  await clip.settled();
}
