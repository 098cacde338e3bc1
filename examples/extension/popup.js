// Embeds the pictures you choose, and shows their vectors.

import { ClipEncoder, errorJson } from "./clip-wasm/clip.js";

const result = document.querySelector("#result");
const clip = await ClipEncoder.load("demo.gguf", {
  onProgress: ({ loaded, total }) => (result.textContent = `Loading: ${loaded} of ${total} bytes`),
});
result.textContent = "Choose a picture";

document.querySelector("#picture").addEventListener("change", async ({ target }) => {
  result.textContent = JSON.stringify(await clip.embedImage([...target.files]).catch(errorJson));
});
