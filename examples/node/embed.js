// Compares a picture with captions: node embed.js MODEL PICTURE CAPTION...
// Run `./build.sh package` in the repository's root and `npm install` here, then for example:
//   node embed.js ../../www/models/demo.gguf ../../www/samples/hearts.png "three red hearts" "two blue stars"

import { ClipEncoder } from "clip-wasm";

const [model, picture, ...captions] = process.argv.slice(2);
const clip = await ClipEncoder.load(model);
const [image] = (await clip.embedImage([picture])).data;
const texts = (await clip.embedText(captions)).data;
clip.close(); // ends its threads, so that the process can exit

for (const [i, text] of texts.entries()) {
  // Vectors have unit length, so their dot product is their cosine.
  const cosine = text.reduce((sum, value, j) => sum + value * image[j], 0);
  console.log(`${cosine.toFixed(4)}  ${captions[i]}`);
}
