// A worker's message loop: each message calls one of its methods. shared/protocol.js defines the messages.

import { abortedError, codeOf } from "../shared/error.js";
import { reportRequests } from "../shared/requested-urls.js";

/** @import { ErrorMessage, Exchange } from "../shared/protocol.js" */

/** @typedef {Record<string, (params: any, exchange: Exchange) => unknown>} Methods */

/**
 * Answers the messages of this worker's page.
 * @param {object} methods
 */
export function serveCalls(methods) {
  const calls = /** @type {Methods} */ (methods);
  /** @type {Map<number, AbortController>} */
  const aborts = new Map();

  self.addEventListener("message", async ({ data: { id, method, params, abort } }) => {
    if (abort) {
      aborts.get(id)?.abort();
      return;
    }
    const controller = new AbortController();
    aborts.set(id, controller);
    try {
      const result = await calls[method]?.(params, {
        onProgress: (progress) => self.postMessage({ id, progress }),
        onWarning: (warning) => self.postMessage({ id, warning }),
        onEarly: (early) => self.postMessage({ id, early }),
        signal: controller.signal,
      });
      const transfer = ArrayBuffer.isView(result) ? [/** @type {ArrayBuffer} */ (result.buffer)] : [];
      self.postMessage({ id, result }, { transfer });
    } catch (error) {
      self.postMessage({ id, error: errorMessage(controller.signal.aborted ? abortedError(controller.signal) : error) });
    } finally {
      aborts.delete(id);
    }
  });

  // Held as long as this worker lives.
  navigator.locks?.request(self.name, () => {
    self.postMessage({ alive: true });
    return new Promise(() => {});
  }).catch(() => {}); // a frame without an origin of its own has no locks

  reportRequests();
}

/**
 * An error without one of our codes is either a wasm trap, after which the memory of the instance can no longer be
 * trusted, or a bug. In both cases this worker cannot go on.
 * @param {unknown} error
 * @returns {ErrorMessage}
 */
function errorMessage(error) {
  const code = codeOf(error);
  if (code === null) {
    return { code: "worker_failed", message: `the worker stopped (${error}), perhaps because memory ran out`, statusCode: 500 };
  }
  const { message, statusCode } = /** @type {Error & { statusCode: number }} */ (error);
  return { code, message, statusCode };
}
