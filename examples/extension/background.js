// Embeds texts for the extension's other parts, such as content scripts:
//   const { data } = await chrome.runtime.sendMessage({ texts: ["a cat"] });

import { ClipEncoder, errorJson } from "./clip-wasm/in-place.js"; // a service worker starts no workers

/** @type {Promise<ClipEncoder> | undefined} */
let loading;

chrome.runtime.onMessage.addListener(({ texts }, _sender, answer) => {
  loading ??= ClipEncoder.load(chrome.runtime.getURL("demo.gguf"), { towers: ["text"], keep: false });
  loading.then((clip) => clip.embedText(texts)).catch(errorJson).then(answer);
  return true; // the answer comes later
});
