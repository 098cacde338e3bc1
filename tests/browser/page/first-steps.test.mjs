// A visitor's first steps: their own picture is embedded at once, and what the line for the model says is what happens.

import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { FIXTURES, Site, TINY_MODEL } from "../support/browser.mjs";

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
    const many = Array.from({ length: 60 }, () => CAT);
    await clip.pickImages(many);
    await clip.page.locator("#run-state").filter({ hasText: "of 60" }).waitFor();
    await clip.page.getByRole("button", { name: "Remove cat.png" }).first().click();
    await clip.page.getByRole("button", { name: "Remove cat.png" }).last().click();
    await clip.page.getByRole("button", { name: "Stop" }).click();
    await clip.settled();
    const count = (await clip.legend()).length;
    assert.ok(count <= 58, `${count} vectors`);
    if (count > 0) assert.match(String(await clip.page.locator("#result-summary").textContent()), /^stopped after \d+ of 60 · /);
  });
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
