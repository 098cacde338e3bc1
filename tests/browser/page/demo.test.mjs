// What a visitor sees first: the demo model embeds a sample; samples to click; a sheet to draw on.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, REPOSITORY, Site } from "../support/browser.mjs";
import { file } from "../support/server.mjs";
import { cosine } from "../support/vectors.mjs";
import { waitUntil } from "../support/waiting.mjs";

/** e to the power of `logit_scale` in the demo model's checkpoint. */
const LOGIT_SCALE = Math.exp(3.845703125);

/** @import { ClipPage } from "../support/browser.mjs" */

/** The right caption of each sample in samples.json. */
const RIGHT = {
  "hearts.png": "three red hearts",
  "fish.png": "a striped green fish",
  "moon.png": "a yellow moon above a purple star",
  "house.png": "a line drawing of a house",
  "letter.png": "the letter a",
  "faces.png": "four faces on a blue background",
};

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

/** @param {ClipPage} clip */
const verdict = (clip) => clip.page.locator("#comparison .verdict strong");

/**
 * Waits for a result with a comparison, and gives the best caption.
 * @param {ClipPage} clip
 * @param {string} image
 */
async function winner(clip, image) {
  await clip.page.locator("#comparison .verdict").filter({ hasText: `fits ${image} best` }).waitFor();
  await clip.settled();
  return (await verdict(clip).textContent())?.replace(/[“”]/g, "");
}

/**
 * Clicks a sample while nothing runs, and waits for the run that follows when the sample has been fetched.
 * @param {ClipPage} clip
 * @param {string} image
 */
async function askFor(clip, image) {
  const hasRun = clip.page.evaluate(() => new Promise((resolve) => {
    const state = /** @type {Element} */ (document.querySelector("#run-state"));
    let hasBegun = false;
    new MutationObserver((_changes, observer) => {
      if (state.textContent !== "") hasBegun = true;
      else if (hasBegun) resolve(observer.disconnect());
    }).observe(state, { childList: true });
  }));
  await clip.page.getByRole("button", { name: `Sample ${image}` }).click();
  await hasRun;
}

describe("on the first visit", () => {
  test("a picture and four captions are embedded without a click, and the right caption wins", async (t) => {
    const clip = await site.visit(t);
    assert.equal(await winner(clip, "hearts.png"), RIGHT["hearts.png"]);
    const { data, status_code } = await clip.copied();
    assert.equal(status_code, 200);
    assert.deepEqual(data.map((/** @type {number[]} */ vector) => vector.length), [128, 128, 128, 128, 128]);
    const cells = await clip.page.locator("#comparison tbody tr").allInnerTexts();
    assert.equal(cells.length, 4);
    for (const cell of cells) assert.match(cell, /\d\.\d{3}/);
    assert.equal(await clip.page.locator("#comparison .best").count(), 1);
    assert.match(String(await clip.modelState.textContent()), /^Ready: /);
    assert.equal(await clip.page.getByRole("alert").count(), 0);
    assert.equal(await clip.page.locator("#result-note").isVisible(), false);
    assert.deepEqual(site.hub.requests, []);
  });

  test("the demo model is the first in the menu, with a description", async (t) => {
    const clip = await site.visit(t);
    const menu = clip.page.locator("#model-menu option");
    await menu.nth(1).waitFor({ state: "attached" });
    assert.match(String(await menu.first().textContent()), /^Demo: shapes and colours · q8_0 · 2\.\d MB · built in$/);
    assert.equal(await clip.page.locator("#model-menu").evaluate((menu) => /** @type {HTMLSelectElement} */ (menu).selectedIndex), 0);
  });

  test("the page does not scroll by itself, on a phone too", async (t) => {
    const clip = await site.visit(t, { viewport: { width: 360, height: 740 } });
    await winner(clip, "hearts.png");
    assert.equal(await clip.page.evaluate(() => scrollY), 0);
    assert.ok((await clip.page.evaluate(() => document.documentElement.scrollWidth)) <= 360);
  });

  test("nothing is fetched except the page's own files", async (t) => {
    const clip = await site.visit(t);
    await winner(clip, "hearts.png");
    assert.ok(site.own.requests.includes("/models/demo.gguf"));
    assert.deepEqual(site.hub.requests, []);
  });
});

describe("samples", () => {
  for (const [image, caption] of Object.entries(RIGHT)) {
    test(`a click on ${image} shows that “${caption}” fits it best`, async (t) => {
      const clip = await site.visit(t);
      await winner(clip, "hearts.png");
      await clip.page.getByRole("button", { name: `Sample ${image}` }).click();
      assert.equal(await winner(clip, image), caption);
      assert.equal(await clip.thumbnails.count(), 1, "it takes the place of the sample before");
    });
  }

  test("do not replace what the user has typed and added", async (t) => {
    const clip = await site.visit(t);
    await winner(clip, "hearts.png");
    await clip.texts.fill("my own words");
    await clip.pickImages([join(FIXTURES, "cat.png")]);
    await clip.page.getByRole("button", { name: "Sample fish.png" }).click();
    // Not of the run that began with the user's picture, while the sample was fetched.
    await clip.page.locator("#legend .name", { hasText: "fish.png" }).waitFor();
    await clip.settled();
    assert.equal(await clip.texts.inputValue(), "my own words");
    assert.deepEqual(await clip.legend(), ["“my own words”", "cat.png", "fish.png"]);
  });

  test("clicked one after the other: the last is shown, even if it arrives first", async (t) => {
    const clip = await site.visit(t);
    await winner(clip, "hearts.png");
    let proceed = () => {};
    const gate = new Promise((/** @type {(value: void) => void} */ resolve) => (proceed = resolve));
    site.own.answer("/samples/fish.png", async (request, response) => {
      await gate;
      file(join(REPOSITORY, "www/samples/fish.png"))(request, response);
    });
    site.own.requests.length = 0;
    await clip.page.getByRole("button", { name: "Sample fish.png" }).click();
    await waitUntil("the first is asked for", () => site.own.requests.includes("/samples/fish.png"));
    await clip.page.getByRole("button", { name: "Sample moon.png" }).click();
    await winner(clip, "moon.png");
    const arrived = clip.page.waitForResponse(/fish\.png$/);
    proceed();
    await (await arrived).finished();
    await clip.page.waitForTimeout(300);
    await clip.settled();
    await winner(clip, "moon.png");
    assert.equal(await clip.thumbnails.filter({ hasText: "fish.png" }).count(), 0);
  });

  test("do not download a large model without asking", async (t) => {
    const clip = await site.visit(t);
    await winner(clip, "hearts.png");
    await clip.chooseOrigin("Name or URL");
    await clip.page.getByLabel("Name of a model on the Hub, or address of a file").fill(`${site.hub.origin}/tiny-gelu.q8_0.gguf`);
    await clip.page.getByRole("button", { name: "Sample fish.png" }).click();
    await clip.thumbnails.filter({ hasText: "fish.png" }).waitFor();
    await clip.page.waitForTimeout(300);
    assert.deepEqual(site.hub.requests, []);
    await clip.embed();
    assert.deepEqual(site.hub.requests, ["/tiny-gelu.q8_0.gguf"]);
  });

  test("that cannot be fetched leave a working page", async (t) => {
    const clip = await site.visit(t);
    site.own.answer("/samples.json", (_request, response) => void response.writeHead(404).end());
    await clip.page.reload();
    assert.equal(await clip.page.locator("#samples").isVisible(), false);
    await clip.texts.fill("a red star");
    await clip.embed();
    assert.equal((await clip.copied()).data.length, 1);
  });
});

describe("the sheet to draw on", () => {
  /**
   * Draws lines through points, given as fractions of the sheet's edge.
   * @param {ClipPage} clip
   * @param {[number, number][]} points
   */
  async function stroke(clip, points) {
    const box = await clip.page.locator("#drawing-canvas").boundingBox();
    assert.ok(box);
    const [first = [0, 0], ...rest] = points.map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
    await clip.page.mouse.move(first[0] ?? 0, first[1] ?? 0);
    await clip.page.mouse.down();
    for (const [x = 0, y = 0] of rest) await clip.page.mouse.move(x, y, { steps: 4 });
    await clip.page.mouse.up();
  }

  /** @param {[number, number][]} turns degrees and radius around the middle */
  const around = (turns) =>
    turns.map(([degrees, radius]) => {
      const angle = ((degrees - 90) * Math.PI) / 180;
      return /** @type {[number, number]} */ ([0.5 + radius * Math.cos(angle), 0.5 + radius * Math.sin(angle)]);
    });
  const circle = around(Array.from({ length: 41 }, (_, n) => [n * 9, 0.3]));
  const star = around(Array.from({ length: 11 }, (_, n) => [n * 36, n % 2 ? 0.14 : 0.33]));
  const triangle = around([[0, 0.33], [120, 0.33], [240, 0.33], [360, 0.33]]);

  /** @param {ClipPage} clip */
  async function openSheet(clip) {
    await winner(clip, "hearts.png");
    const button = clip.page.getByRole("button", { name: "Draw…" });
    await button.click();
    await clip.page.locator("#drawing-canvas").scrollIntoViewIfNeeded();
    assert.equal(await button.getAttribute("aria-expanded"), "true");
  }

  for (const [name, points] of Object.entries({ circle, star, triangle })) {
    test(`a ${name} is recognised as a ${name}`, async (t) => {
      const clip = await site.visit(t);
      await openSheet(clip);
      await stroke(clip, points);
      assert.equal(await winner(clip, "drawing.png"), `a ${name}`);
      assert.equal(await clip.thumbnails.count(), 1, "it takes the sample's place");
    });
  }

  test("in colour, undone, cleared, and removed like any image", async (t) => {
    const clip = await site.visit(t);
    await openSheet(clip);
    await clip.texts.fill("a red star\na blue star\na green star");
    await clip.page.locator("label", { has: clip.page.getByRole("radio", { name: "blue" }) }).click();
    await stroke(clip, star);
    assert.equal(await winner(clip, "drawing.png"), "a blue star");
    const json = () => clip.page.locator("#json").textContent();
    const before = await json();
    await stroke(clip, [[0.1, 0.9], [0.9, 0.9]]);
    await clip.page.waitForFunction((before) => document.querySelector("#json")?.textContent !== before, before);
    await clip.page.getByRole("button", { name: "Undo" }).click();
    await clip.page.waitForFunction((before) => document.querySelector("#json")?.textContent === before, before);
    await clip.page.getByRole("button", { name: "Clear" }).click();
    await clip.page.waitForFunction(() => document.querySelectorAll("#thumbnails > li").length === 0);
    await stroke(clip, circle);
    await clip.page.getByRole("button", { name: "Remove drawing.png" }).click();
    assert.equal(await clip.page.getByRole("button", { name: "Undo" }).isDisabled(), true, "the sheet is empty too");
  });
});

test("for a photograph, the page says that this model only knows drawings", async (t) => {
  const clip = await site.visit(t);
  await winner(clip, "hearts.png");
  await askFor(clip, "hearts.png"); // so that it stays
  await clip.pickImages([join(FIXTURES, "rocket.jpg")]);
  await clip.embed();
  const note = clip.page.locator("#result-note");
  assert.match(String(await note.textContent()), /drawings of shapes, letters and digits only/);
  assert.equal(await note.isVisible(), true);
  assert.equal((await clip.copied()).data.length, 6);
  await clip.loadTinyModel();
  await clip.embed();
  assert.equal(await note.isVisible(), false, "and of another model it does not");
});

test("several images and texts: a table, the best text of each image marked", async (t) => {
  const clip = await site.visit(t);
  await winner(clip, "hearts.png");
  await askFor(clip, "hearts.png"); // so that it stays
  await clip.pickImages([join(FIXTURES, "cat.png"), join(FIXTURES, "rocket.jpg")]);
  await clip.embed();
  const { data } = await clip.copied();
  const rows = clip.page.locator("#comparison tbody tr");
  assert.equal(await rows.count(), 4);
  assert.equal(await clip.page.locator("#comparison .best").count(), 3);
  const [texts, images] = [data.slice(0, 4), data.slice(4)];
  for (const [column, image] of images.entries()) {
    const cosines = texts.map((/** @type {number[]} */ text) => cosine(text, image));
    const powers = cosines.map((/** @type {number} */ value) => Math.exp(LOGIT_SCALE * value));
    const sum = powers.reduce((/** @type {number} */ a, /** @type {number} */ b) => a + b, 0);
    const wanted = texts.map((/** @type {number[]} */ _, /** @type {number} */ row) => `${(100 * powers[row] / sum).toFixed(1)} % ${cosines[row].toFixed(3)}`);
    const cells = clip.page.locator(`#comparison tbody td:nth-of-type(${column + 1})`);
    const shown = (await cells.allTextContents()).map((cell) => cell.replace(", the best", "").replace("< 0.1 %", "0.0 %"));
    assert.deepEqual(shown, wanted, `image ${column}`);
  }
  assert.match(String(await clip.page.locator("#comparison .about").textContent()), /softmax of 46\.8 × cosine/);
});

test("for one image, the texts are sorted by how well they fit", async (t) => {
  const clip = await site.visit(t);
  await winner(clip, "hearts.png");
  const shares = await clip.page.locator("#comparison td .cosine").allTextContents();
  assert.deepEqual(shares, shares.toSorted((a, b) => Number(b) - Number(a)));
  assert.match(String(await clip.page.locator("#comparison tbody tr").first().textContent()), /three red hearts.*, the best/);
});

test("a single text has cosines, but no probabilities", async (t) => {
  const clip = await site.visit(t);
  await winner(clip, "hearts.png");
  await clip.texts.fill("three red hearts");
  await clip.embed();
  assert.match(String(await clip.page.locator("#comparison td").textContent()), /^0\.\d{3}$/);
});
