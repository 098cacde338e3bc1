// A visitor's first steps: their own picture is embedded at once, and what the line for the model says is what happens.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, shownCode, Site, TINY_MODEL } from "../support/browser.mjs";

const CAT = join(FIXTURES, "cat.png");
const ROCKET = join(FIXTURES, "rocket.jpg");

/** @type {Site} */
let site;
before(async () => (site = await Site.open()));
after(() => site.close());

describe("a picture of one's own", () => {
  test("takes the place of the first sample and its captions, and is embedded without a click", async (t) => {
    const clip = await site.visit(t);
    await clip.page.locator("#comparison .verdict").filter({ hasText: "fits hearts.png best" }).waitFor();
    await clip.pickImages([CAT]);
    await clip.page.locator("#comparison .verdict").filter({ hasText: "the vector of cat.png" }).waitFor();
    assert.deepEqual(await clip.legend(), ["cat.png"]);
    assert.equal(await clip.texts.inputValue(), "");
    await clip.page.locator("#result-note").filter({ hasText: "drawings of shapes" }).waitFor();
  });

  test("is embedded after a look at the menu that changed nothing, and after a load that failed", async (t) => {
    const clip = await site.newPage(t);
    await clip.pickImages([CAT]);
    await clip.page.locator("#legend .name").filter({ hasText: "cat.png" }).waitFor();
    await clip.settled();
    await clip.openModelPanel();
    await clip.page.locator("#model-menu").selectOption({ index: 2 });
    await clip.page.getByRole("button", { name: "Change model" }).click();
    await clip.pickImages([ROCKET]);
    await clip.page.locator("#legend .name").filter({ hasText: "rocket.jpg" }).waitFor();
    await clip.settled();
    await clip.loadUrl(`${site.hub.origin}/absent.gguf`);
    await clip.modelError.waitFor();
    await clip.page.keyboard.press("Escape");
    assert.equal(await clip.page.locator("#model-panel").isVisible(), false);
    await clip.pickImages([CAT]);
    await clip.page.locator("#legend li").nth(2).waitFor();
    assert.deepEqual(site.hub.requests, ["/absent.gguf"]);
  });

  test("that is removed during a run is not in its result, and a run that is stopped says so", async (t) => {
    const clip = await site.newPage(t);
    await clip.loadTinyModel();
    const many = Array.from({ length: 600 }, () => CAT);
    await clip.pickImages(many);
    await clip.page.locator("#run-state").filter({ hasText: "of 600" }).waitFor();
    await clip.page.getByRole("button", { name: "Remove cat.png" }).first().click();
    await clip.page.getByRole("button", { name: "Remove cat.png" }).last().click();
    await clip.page.getByRole("button", { name: "Stop" }).click();
    await clip.settled();
    const count = (await clip.legend()).length;
    assert.ok(count <= 598, `${count} vectors`);
    if (count > 0) assert.match(String(await clip.page.locator("#result-summary").textContent()), /^stopped after \d+ of 600 · /);
  });
});

test("Embed, pressed during a run after another model was chosen, loads that model when the run has ended", async (t) => {
  const clip = await site.newPage(t);
  await clip.pickImages(Array.from({ length: 300 }, () => CAT));
  await clip.page.locator("#run-state").filter({ hasText: "of 300" }).waitFor();
  await clip.chooseOrigin("Name or URL");
  await clip.page.getByLabel("Name of a model on the Hub, or address of a file").fill(`${site.hub.origin}/tiny-gelu.q8_0.gguf`);
  const isRunning = await clip.page.evaluate(() => {
    const running = /of 300/.test(String(document.querySelector("#run-state")?.textContent));
    /** @type {HTMLElement} */ (document.querySelector("#embed")).click();
    return running;
  });
  assert.ok(isRunning);
  await clip.modelState.filter({ hasText: /^Ready: (?!shapes)/ }).waitFor();
  await clip.page.getByRole("button", { name: "Stop" }).click();
  await clip.settled();
});

test("the error of a load stays that interrupts the load of the images before it", async (t) => {
  const clip = await site.newPage(t);
  await clip.loadUrl(site.hub.parts("/m.gguf", TINY_MODEL, { silentAfter: () => 4_450_000 }));
  await clip.modelState.filter({ hasText: "images as soon as the rest is loaded" }).waitFor();
  await clip.loadUrl("http://");
  await clip.modelError.waitFor();
  await clip.page.waitForTimeout(300);
  assert.equal(await shownCode(clip.modelError), "invalid_input");
});

test("a picture that is dropped while another view is fetched is embedded", async (t) => {
  const clip = await site.newPage(t);
  site.own.answer("/page/check/view.js", () => {});
  await clip.page.getByRole("link", { name: "Check" }).click();
  await clip.page.locator('.views [aria-current="page"]').filter({ hasText: "Check" }).waitFor();
  await clip.giveFiles("drop", "body", [{ name: "cat.png", path: CAT }]);
  await clip.page.locator("#legend .name").filter({ hasText: "cat.png" }).waitFor();
});

test("a model file that is dropped while another loads is loaded instead", async (t) => {
  const clip = await site.newPage(t);
  site.hub.answer("/never.gguf", () => {});
  await clip.loadUrl(`${site.hub.origin}/never.gguf`);
  await clip.modelState.filter({ hasText: "Loading" }).waitFor();
  await clip.giveFiles("drop", "h1", [{ name: "tiny.gguf", path: TINY_MODEL }]);
  await clip.ready();
  assert.equal(await clip.page.locator("#model-panel").isVisible(), false);
});

test("the panel stays open while the page loads a model by itself", async (t) => {
  const clip = await site.newPage(t);
  await clip.openModelPanel();
  await clip.pickImages([CAT]);
  await clip.ready();
  await clip.settled();
  assert.equal(await clip.page.locator("#model-panel").isVisible(), true);
});

test("where nothing can be copied, the button says so", async (t) => {
  const clip = await site.newPage(t);
  await clip.pickImages([CAT]);
  await clip.page.locator("#legend li").waitFor();
  await clip.page.evaluate(() => {
    Object.defineProperty(navigator, "clipboard", { value: undefined });
    document.execCommand = () => false;
  });
  await clip.page.getByRole("button", { name: "Copy JSON" }).click();
  await clip.page.getByRole("button", { name: "Not copied" }).waitFor();
  await clip.page.getByRole("button", { name: "Copy JSON" }).waitFor();
});
