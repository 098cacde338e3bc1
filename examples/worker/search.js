// A module worker: {image, captions} -> {image: [...], captions: [[...], ...]}, vectors of unit length.

import { ClipEncoder } from "../../pkg/clip.js";

// The encoder starts its own worker inside this one. URLs are relative to this file.
const loading = ClipEncoder.load("../../www/models/demo.gguf");

self.onmessage = async ({ data: { image, captions } }) => {
  const clip = await loading;
  const [images, texts] = await Promise.all([clip.embedImage([image]), clip.embedText(captions)]);
  self.postMessage({ image: images.data[0], captions: texts.data });
};
