// The pictures' module: one instance, which is replaced when a picture has crashed it or made its memory large. It
// keeps nothing between two pictures, so a new instance takes only milliseconds.

import { limitsOf, requireRoom } from "./module-inputs.js";
import { ClipError } from "../shared/error.js";
import { picturesBuild } from "./pictures-build.js";

/** @import { DecodedImage } from "../../pkg/pictures/clip_wasm.js" */
/** @import { PictureParams, Pixels } from "../shared/protocol.js" */
/** @import { PictureBindings } from "./pictures-build.js" */

/** @typedef {Omit<PictureParams, "image">} Preparation how a picture is read */

/**
 * A picture as a tower reads it: `[S, S, 3]`, RGB; and the milliseconds that decoding and resizing took.
 * @typedef {{ square: Uint8Array, decode: number, resize: number }} Prepared
 */

/**
 * Bytes of memory beyond which an instance is replaced. WebAssembly gives no memory back, and a photo of a phone,
 * 12 megapixels, takes less.
 */
const LARGE = 160 << 20;

export class Pictures {
  #bindings;
  #module;
  #memory;

  /**
   * Use {@link Pictures.start}.
   * @param {PictureBindings} bindings
   * @param {WebAssembly.Module} module
   */
  constructor(bindings, module) {
    this.#bindings = bindings;
    this.#module = module;
    this.#memory = bindings.initSync({ module }).memory;
  }

  /**
   * Fetches the module, unless it is given.
   * @param {WebAssembly.Module} [given]
   * @returns {Promise<Pictures>} Rejects as {@link import("./compile.js").compile} does
   */
  static async start(given) {
    const build = picturesBuild();
    const [bindings, module] = await Promise.all([build.bindings(), given ?? build.compile()]);
    await bindings.default({ module_or_path: module });
    return new Pictures(bindings, module);
  }

  /** Reads small pictures of common kinds, so that the browser compiles what reads them before the first one comes. */
  warmUp() {
    this.#bindings.warmUpPictures();
  }

  /** The compiled module, for other workers. */
  get module() {
    return this.#module;
  }

  /** Bytes of memory that the instance has. */
  get memory() {
    return this.#memory.buffer.byteLength;
  }

  /** @param {Uint8Array} bytes of a file */
  recognizes(bytes) {
    return this.#bindings.recognizesImage(bytes);
  }

  /**
   * @param {Uint8Array} bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file
   * @param {Preparation} how
   * @returns {Prepared}
   */
  prepareFile(bytes, { preprocessing, orientation, alpha, limits }) {
    return this.#attempt(bytes.length, preprocessing, (bindings) => bindings.decodeFile(bytes, orientation, alpha, limitsOf(bindings, limits)));
  }

  /**
   * @param {Pixels} pixels
   * @param {Preparation} how
   * @returns {Prepared}
   */
  preparePixels(pixels, { preprocessing, alpha, limits }) {
    // Only the members of an ImageData are read, a class that not every engine has.
    return this.#attempt(pixels.data.length, preprocessing, (bindings) => bindings.takePixels(/** @type {ImageData} */ (pixels), alpha, limitsOf(bindings, limits)));
  }

  /**
   * @param {number} size bytes that are copied into the module's memory
   * @param {Preparation["preprocessing"]} preprocessing
   * @param {(bindings: PictureBindings) => DecodedImage} decode
   * @returns {Prepared}
   */
  #attempt(size, preprocessing, decode) {
    try {
      requireRoom(this.#bindings, size);
      const start = performance.now();
      const image = decode(this.#bindings);
      const decoded = performance.now();
      const square = image.prepare(preprocessing);
      return { square, decode: decoded - start, resize: performance.now() - decoded };
    } catch (error) {
      if (error instanceof Error && "code" in error) throw error;
      this.#renew();
      if (error instanceof RangeError) throw new ClipError("low_memory", `there is not enough memory for this picture (${error.message}); close other pages, or make it smaller`);
      const message = `the decoder stopped at this picture (${error}): it is damaged in a way that the decoder does not know; save it again as PNG or JPEG`;
      throw new ClipError("corrupt_image", message, { cause: error });
    } finally {
      if (this.memory > LARGE) this.#renew();
    }
  }

  /** Replaces the instance by a new one. */
  #renew() {
    this.#bindings.__wbg_reset_state();
    this.#memory = this.#bindings.initSync({ module: this.#module }).memory; // the reset has started the instance; this returns it
  }
}
