// The `input` of a request to OpenAI's `/v1/embeddings`: texts, and images in the forms in which other servers take them.

import { bytesOfDataUrl } from "../shared/data-url.js";
import { ClipError } from "../shared/error.js";

/** @typedef {{ text: string } | { image: string | Uint8Array<ArrayBuffer> }} Input an image is its bytes or its URL */

/** Inputs of a request at most: OpenAI's own limit. */
const MOST_INPUTS = 2048;
/** A `data:` URL that has a type, or is in base64: a sentence can begin with "data:" too. */
const DATA_URL = /^data:(?:([\w.+-]+\/[\w.+-]+)|(?=;base64,))(?:;[\w-]+=[^;,]*)*(?:;\s*base64)?,/i;
const WEB_ADDRESS = /^https?:\/\/\S+$/i;

/** The error of an invalid field of a request. */
export class FieldError extends ClipError {
  /**
   * @param {string} field
   * @param {string} message
   * @param {string} [code]
   */
  constructor(field, message, code = "invalid_input") {
    super(code, message);
    this.field = field;
  }
}

/**
 * @param {unknown} input a text; a list of texts; or, in place of a text, a `data:` URL or the address of an image, or an
 *   object with `text`, `image` or `image_url`
 * @param {boolean} fetchImages whether images may be given by their addresses
 * @returns {Input[]}
 */
export function inputsOf(input, fetchImages) {
  if (input === undefined) throw new FieldError("input", "input is missing: send a text, or a list of texts and images");
  const inputs = Array.isArray(input) ? input : [input];
  if (inputs.length === 0) throw new FieldError("input", "input is empty");
  if (inputs.length > MOST_INPUTS) throw new FieldError("input", `input has ${inputs.length} entries; the limit is ${MOST_INPUTS}`);
  return inputs.map((entry, index) => inputOf(entry, Array.isArray(input) ? `input ${index}` : "input", fetchImages));
}

/**
 * @param {unknown} entry
 * @param {string} name of the entry
 * @param {boolean} fetchImages
 * @returns {Input}
 */
function inputOf(entry, name, fetchImages) {
  if (typeof entry === "string") {
    const text = entry.trim();
    return DATA_URL.test(text) || WEB_ADDRESS.test(text) ? imageOf(text, name, fetchImages, ', or {"text": …} if it is a text') : { text: entry };
  }
  if (typeof entry === "number" || Array.isArray(entry)) throw new FieldError("input", `${name} is token ids, which this endpoint does not accept: send the text itself`);
  if (typeof entry !== "object" || entry === null) throw new FieldError("input", `${name} is not a string`);
  const { text = null, image = null, image_url: address = null } = /** @type {Record<string, any>} */ (entry);
  const given = [text, image, address].filter((value) => value !== null);
  if (given.length !== 1) throw new FieldError("input", `${name} must have one of text, image and image_url, but has ${given.length}`);
  if (text !== null) {
    if (typeof text !== "string") throw new FieldError("input", `the text of ${name} is not a string`);
    return { text };
  }
  const source = image ?? (typeof address === "object" ? address.url : address);
  if (typeof source !== "string") throw new FieldError("input", `the image of ${name} is not a string`);
  return imageOf(source.trim(), name, fetchImages, "");
}

/**
 * @param {string} source a `data:` URL, an address, or base64 alone
 * @param {string} name
 * @param {boolean} fetchImages
 * @param {string} otherwise what else the caller may have meant
 * @returns {Input}
 */
function imageOf(source, name, fetchImages, otherwise) {
  if (WEB_ADDRESS.test(source)) {
    if (fetchImages) return { image: source };
    throw new FieldError("input", `${name} is the address of an image, which this server does not fetch: send the image as a data: URL${otherwise}`);
  }
  const [, type] = DATA_URL.exec(source) ?? [];
  if (type && !/^image\/|^application\/octet-stream$/i.test(type)) throw new FieldError("input", `${name} is a data: URL of ${type}, not of an image${otherwise}`);
  try {
    return { image: bytesOfDataUrl(source) ?? Uint8Array.from(atob(source), (character) => character.charCodeAt(0)) };
  } catch {
    const form = /^data:/i.test(source) ? "a data: URL whose base64 cannot be decoded" : "neither a data: URL, nor an https: address, nor base64";
    throw new FieldError("input", `the image of ${name} is ${form}`);
  }
}
