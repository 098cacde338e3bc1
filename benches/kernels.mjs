// Measures the int8 matrix product alone, with the shapes of a ViT-B/32.

import { withBrowser } from "./browser.mjs";

/** @import { StaticServer } from "../tests/browser/support/server.mjs" */
/** @import { Groups, Rates, Shape } from "./page/kernels.js" */

const LAYERS = 12;

/**
 * The six products of each layer: queries, keys, values, attention output, and the two of the MLP.
 * @param {number} rows
 * @param {number} width
 * @returns {Shape[]}
 */
function tower(rows, width) {
  /** @type {Shape} */
  const square = [rows, width, width];
  return Array.from({ length: LAYERS }, () => [
    square, square, square, square,
    /** @type {Shape} */ ([rows, width, 4 * width]),
    /** @type {Shape} */ ([rows, 4 * width, width]),
  ]).flat();
}

/** @type {Groups} */
const GROUPS = {
  "50 x 768 x 768": [[50, 768, 768]],
  "50 x 768 x 3072": [[50, 768, 3072]],
  "50 x 3072 x 768": [[50, 3072, 768]],
  "400 x 768 x 3072": [[400, 768, 3072]],
  "image tower's 72 products": tower(50, 768),
  "12 x 512 x 512": [[12, 512, 512]],
  "12 x 512 x 2048": [[12, 512, 2048]],
  "12 x 2048 x 512": [[12, 2048, 512]],
  "text tower's 72 products, 12 tokens": tower(12, 512),
  "77 x 512 x 512": [[77, 512, 512]],
  "77 x 512 x 2048": [[77, 512, 2048]],
  "77 x 2048 x 512": [[77, 2048, 512]],
  "text tower's 72 products, 77 tokens": tower(77, 512),
};

/**
 * @param {StaticServer} host
 * @param {number} rounds
 * @returns {Promise<Rates>}
 */
export async function measureKernels(host, rounds) {
  return withBrowser(async (context) => {
    const page = await context.newPage();
    await page.goto(`${host.origin}/benches/page/`);
    const kernels = await page.evaluateHandle(
      (url) => /** @type {Promise<typeof import("./page/kernels.js")>} */ (import(url)),
      `${host.origin}/benches/page/kernels.js`,
    );
    return kernels.evaluate((kernels, { groups, rounds }) => kernels.measureKernels(groups, rounds), {
      groups: GROUPS,
      rounds,
    });
  });
}
