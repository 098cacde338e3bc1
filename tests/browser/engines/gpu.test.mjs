// Models on the GPU of other browsers than Chromium: Firefox's WebGPU, on lavapipe; and WebKitGTK, which has none.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { PHOTOS, REPOSITORY } from "../support/browser.mjs";
import { StaticServer } from "../support/server.mjs";
import { cosine } from "../support/vectors.mjs";
import { Engine, whyNot } from "./engine.mjs";

/** @import { EngineName } from "./engine.mjs" */
/** @import { DeviceInfo } from "../../../www/lib/shared/protocol.js" */

/** @typedef {{ device: DeviceInfo, warnings: string[], vectors: number[][] } | { error: string }} Embedded */

const PHOTO = readFileSync(join(PHOTOS, "coffee.png"), "base64");

/** Embeds a text and an image on a device, in a page without anything else. */
const EMBED = `
  const [device, photo, done] = arguments;
  (async () => {
    const { ClipEncoder } = await import("/clip.js");
    const warnings = [];
    const clip = await ClipEncoder.load("/models/demo.gguf", { device, keep: false, onWarning: ({ message }) => warnings.push(message) });
    const texts = await clip.embedText(["three red hearts", "a house ".repeat(40)]);
    const images = await clip.embedImage([Uint8Array.from(atob(photo), (byte) => byte.charCodeAt(0))]);
    const result = { device: clip.device, warnings, vectors: [...texts.data, ...images.data] };
    clip.close();
    return result;
  })().then(done, (error) => done({ error: String(error) }));`;

/** @type {{ name: EngineName, gpu: boolean }[]} */
const ENGINES = [{ name: "firefox", gpu: true }, { name: "webkit", gpu: false }];

for (const { name, gpu } of ENGINES) {
  const reason = whyNot(name);
  describe(name, { skip: reason ?? false }, () => {
    /** @type {Engine} */
    let engine;
    /** @type {StaticServer} */
    let server;
    before(async () => {
      server = await new StaticServer(join(REPOSITORY, "www")).start();
      engine = await Engine.start(name, { softwareGpu: true });
      server.answer("/empty.html", (_request, response) => {
        response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Empty</title><link rel=icon href=data:,>");
      });
      await engine.driver.get(`${server.origin}/empty.html`);
    });
    after(async () => {
      await engine?.close();
      await server?.stop();
    });

    test(gpu ? "the GPU gives the processor's vectors" : "the processor computes, and a warning says why", { timeout: 120_000 }, async (t) => {
      const embed = async (/** @type {string} */ device) => {
        const result = /** @type {Embedded} */ (await engine.driver.executeAsyncScript(EMBED, device, PHOTO));
        if ("error" in result) throw new Error(result.error);
        return result;
      };
      const [wanted, got] = [await embed("wasm"), await embed("webgpu")];
      assert.deepEqual(wanted.warnings, []);
      if (!gpu) {
        assert.deepEqual([got.device.name, got.warnings], ["wasm", ["the processor computes, not the GPU: there is no WebGPU here"]]);
        assert.deepEqual(got.vectors, wanted.vectors);
        return;
      }
      if (got.warnings.some((warning) => warning.endsWith("this browser offers no GPU"))) return t.skip(`${engine.title} offers no adapter here: lavapipe is missing`);
      assert.deepEqual([got.device.name, got.warnings], ["webgpu", []]);
      const least = Math.min(...got.vectors.map((vector, i) => cosine(vector, /** @type {number[]} */ (wanted.vectors[i]))));
      t.diagnostic(`${engine.title}, ${got.device.adapter}, ${got.device.products}: least cosine ${least}`);
      assert.ok(least >= 0.99999, `cosine ${least}`);
    });
  });
}
