// Draws the PNG icons from www/icon.svg. Browsers use them when the page is installed.

import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { CHROMIUM_FLAGS, findChromium, REPOSITORY } from "../tests/browser/support/browser.mjs";

const svg = readFileSync(join(REPOSITORY, "www/icon.svg"), "utf8");
const folder = join(REPOSITORY, "www/icons");
const [, ground] = /<rect [^>]*fill="([^"]+)"/.exec(svg) ?? [];
if (!ground) throw new Error("www/icon.svg has no ground, a rect with a fill");

/** The background of a maskable icon reaches to the edges, because a device cuts its own shape out of it. */
const ICONS = [
  { name: "192.png", size: 192, background: "transparent" },
  { name: "512.png", size: 512, background: "transparent" },
  { name: "maskable-512.png", size: 512, background: ground },
];

mkdirSync(folder, { recursive: true });
const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS });
for (const { name, size, background } of ICONS) {
  const page = await browser.newPage({ viewport: { width: size, height: size } });
  await page.setContent(`<style>body { margin: 0; background: ${background}; line-height: 0; } svg { width: 100vw; }</style>${svg}`);
  await page.screenshot({ path: join(folder, name), omitBackground: true });
  await page.close();
}
await browser.close();
