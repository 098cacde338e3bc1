// A worker that reads pictures, and holds no model. Whatever a stranger's file does, no more than this worker ends.

import { decodeInBrowser } from "./browser-decode.js";
import { serveCalls } from "./message-loop.js";
import { Pictures } from "../engine/pictures.js";
import { ClipError, codeOf } from "../shared/error.js";
import { checkLimit } from "../shared/limits.js";

/** @import { PictureMethods } from "../shared/protocol.js" */

/** @type {Promise<Pictures> | undefined} */
let starting;

/** The module, started by the first picture; asked for again if it did not come. */
function pictures() {
  starting ??= Pictures.start().catch((cause) => {
    starting = undefined;
    if (codeOf(cause) !== null) throw cause;
    throw new ClipError("network", `the WebAssembly module that reads pictures does not start: ${cause}; try again`, { cause });
  });
  return starting;
}

/** @type {PictureMethods} */
const methods = {
  async prepare({ image, ...how }) {
    const size = image instanceof Blob ? image.size : image.length;
    checkLimit("imageBytes", size, "bytes of the image's file", how.limits);
    const [bytes, module] = await Promise.all([image instanceof Blob ? readBlob(image) : image, pictures()]);
    try {
      return module.prepareFile(bytes, how);
    } catch (error) {
      // No browser makes the reference's pixels of a format that is decoded here, though not in this variant.
      if (codeOf(error) !== "unsupported_image" || module.recognizes(bytes)) throw error;
      const pixels = await decodeInBrowser(new Blob([/** @type {BlobPart} */ (bytes)]), how.orientation, how.alpha);
      if (!pixels) throw error;
      return module.preparePixels(pixels, how);
    }
  },
};

serveCalls(methods);

/**
 * @param {Blob} blob
 * @returns {Promise<Uint8Array>}
 */
async function readBlob(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch (cause) {
    const name = blob instanceof File ? blob.name : "the image";
    throw new ClipError("io", `${name} cannot be read: has it been moved or changed?`, { cause });
  }
}
