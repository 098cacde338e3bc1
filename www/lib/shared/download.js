// One GET request, with a code for each failure: `network` if there is no response, `http_status` if its status is not
// 2xx, with the response as the error's cause; `model_not_found` or `access_denied` if the Hub says so.

import { abortedError, ClipError } from "./error.js";
import { environment } from "./environment.js";
import { accessHeaders, hubError } from "./hub.js";
import { untilAborted } from "./waiting.js";

/** @import { Access } from "./hub.js" */

/**
 * A JSON file. Rejects with `not_json` for anything else, such as the web page that some hosts send instead of a 404.
 * @param {string} url absolute
 * @returns {Promise<any>}
 */
export async function downloadJson(url) {
  const response = await download(url);
  try {
    return await response.json();
  } catch (cause) {
    const type = response.headers.get("content-type") ?? "without a type";
    throw new ClipError("not_json", `${url} did not return JSON (${type}); the file is probably missing at that address`, { cause });
  }
}

/**
 * @param {string} url absolute
 * @param {{ signal?: AbortSignal, headers?: Record<string, string>, cache?: RequestCache, access?: Access | null }} [options]
 *   `access`: to private models of the Hub
 * @returns {Promise<Response>} a response with status 2xx, its body unread
 */
export async function download(url, { signal, headers, cache, access } = {}) {
  const forAccess = accessHeaders(url, access);
  let response;
  try {
    response = await environment.fetch(url, { signal, headers: { ...headers, ...forAccess }, cache });
  } catch (cause) {
    if (signal?.aborted) throw abortedError(signal);
    if (cause instanceof ClipError) throw cause;
    throw new ClipError(
      "network",
      `no answer from ${url}: the network is down, the address is wrong, ` +
        "the server does not let other sites read it (CORS), or a Content-Security-Policy forbids it (connect-src)",
      { cause },
    );
  }
  if (!response.ok) {
    const told = hubError(response, url, "authorization" in forAccess);
    if (told) throw told;
    const status = `${response.status} ${response.statusText}`.trim();
    throw new ClipError("http_status", `${url} answered ${status}`, { cause: response });
  }
  return response;
}

/**
 * @param {unknown} error
 * @returns {number} the HTTP status that caused it, or 0
 */
export function statusOf(error) {
  const cause = error instanceof ClipError ? error.cause : null;
  return cause instanceof Response ? cause.status : 0;
}

/**
 * @param {number} status of a response that is no success
 * @returns {boolean} whether the next try may have another: server errors, request timeout, too early, too many requests
 */
export function isTransient(status) {
  return status >= 500 || [408, 425, 429].includes(status);
}

/**
 * The body of a response. Rejects with `network` if the connection ends too early.
 * @param {Response} response
 * @param {string} url of the response
 * @param {(bytes: number) => void} check throws if so many bytes are too many; called with the announced length, and
 *   then for each chunk
 * @param {AbortSignal} [signal] that ends the reading, whether or not it is that of the request
 * @returns {Promise<Blob>}
 */
export async function readBody(response, url, check, signal) {
  const reader = (response.body ?? new Blob([]).stream()).getReader();
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const chunks = [];
  let size = 0;
  try {
    check(Number(response.headers.get("content-length")) || 0);
    for (;;) {
      const { done, value } = await untilAborted(reader.read(), signal);
      if (done) return new Blob(chunks, { type: response.headers.get("content-type") ?? "" });
      size += value.length;
      check(size);
      chunks.push(value);
    }
  } catch (cause) {
    reader.cancel().catch(() => {});
    if (cause instanceof ClipError) throw cause;
    if (signal?.aborted) throw abortedError(signal);
    throw new ClipError("network", `the connection ended after ${size} bytes of ${url}; try again`, { cause });
  }
}
