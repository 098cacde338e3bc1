// The errors of the JavaScript side: the codes of src/error.rs, and codes that only occur in a browser.

/** The HTTP status of each code; 500 for the others. Codes that src/error.rs has too have the status that it gives. */
export const STATUS_CODES = /** @type {const} */ ({
  empty_input: 400,
  invalid_input: 400,
  missing_tower: 400,
  access_denied: 403,
  model_not_found: 404,
  closed: 409,
  in_use: 409,
  image_too_large: 413,
  limit_exceeded: 413,
  unsupported_image: 415,
  not_a_model: 422,
  truncated_model: 422,
  malformed_model: 422,
  unsupported_model: 422,
  missing_tensor: 422,
  corrupt_image: 422,
  corrupt_model: 422,
  aborted: 499,
  io: 500,
  internal: 500,
  worker_failed: 500,
  encoder_lost: 500,
  gpu_unavailable: 500,
  gpu_lost: 500,
  low_memory: 507,
  http_status: 502,
  network: 502,
});

/**
 * An error with a stable code. `name` is `AbortError` for `aborted`, as on the web platform.
 */
export class ClipError extends Error {
  /**
   * @param {string} code stable, such as `network` or `missing_tensor`
   * @param {string} message what happened and what can be done
   * @param {{ statusCode?: number, cause?: unknown, index?: number }} [details]
   */
  constructor(code, message, { statusCode, cause, index } = {}) {
    super(message, { cause });
    this.name = code === "aborted" ? "AbortError" : "ClipError";
    /** @readonly */
    this.code = code;
    /** @readonly */
    this.statusCode =
      statusCode ?? STATUS_CODES[/** @type {keyof typeof STATUS_CODES} */ (code)] ?? 500;
    /**
     * Which of the inputs failed, from 0, if it was one of them. The message names it too if there were several. Of
     * `classify`, it is the number of a label if the message says "label", otherwise that of an image.
     * @readonly
     */
    this.index = index;
  }
}

/**
 * The error of one of the inputs, with its number.
 * @param {ClipError} error if it has the number of an input already, this one takes its place
 * @param {number} index
 * @param {number} count of the inputs. If there is only one, the message does not name it
 * @param {string} [noun] what the inputs are called
 * @returns {ClipError}
 */
export function errorOfInput(error, index, count, noun = "input") {
  const { code, statusCode, cause } = error;
  const given = `input ${error.index}: `;
  const message = error.message.startsWith(given) ? error.message.slice(given.length) : error.message;
  return new ClipError(code, count === 1 ? message : `${noun} ${index}: ${message}`, { statusCode, cause, index });
}

/**
 * @param {unknown} error
 * @param {string} name such as `QuotaExceededError`
 */
export function isDomException(error, name) {
  return error instanceof DOMException && error.name === name;
}

/**
 * An error as the endpoint returns it.
 * @param {unknown} error
 * @returns {{ error: { code: string, message: string }, status_code: number }}
 */
export function errorJson(error) {
  const { code, message, statusCode } = asClipError(error);
  return { error: { code, message }, status_code: statusCode };
}

/**
 * Any thrown value as an error with a code.
 * @param {unknown} error
 * @returns {ClipError}
 */
export function asClipError(error) {
  if (error instanceof ClipError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new ClipError("internal", message, { cause: error });
}

/**
 * The error of a call that was aborted by its AbortSignal.
 * @param {AbortSignal} signal
 * @returns {ClipError}
 */
export function abortedError(signal) {
  return new ClipError("aborted", "the call was aborted", { cause: signal.reason });
}

/**
 * The error for a web page in place of a model.
 * @param {string} name the address or the file's name
 * @returns {ClipError}
 */
export function webPageError(name) {
  return new ClipError(
    "not_a_model",
    `${name} is a web page, not a model file; on the Hub, a file's own address has /resolve/ in it, not /blob/`,
  );
}

/**
 * The code of one of our errors, or of the wasm module's.
 * @param {unknown} error
 * @returns {string | null}
 */
export function codeOf(error) {
  const code = error instanceof Error && "code" in error ? error.code : null;
  return typeof code === "string" ? code : null;
}
