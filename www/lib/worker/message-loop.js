// A message loop: each message calls one of a worker's methods. shared/protocol.js defines the messages.

import { abortedError, codeOf } from "../shared/error.js";
import { reportRequests } from "../shared/requested-urls.js";

/** @import { ErrorMessage, Exchange } from "../shared/protocol.js" */

/** @typedef {Record<string, (params: any, exchange: Exchange) => unknown>} Methods */

/**
 * Where calls come from and answers go.
 * @typedef {Pick<EventTarget, "addEventListener"> & { postMessage: (answer: object, options?: { transfer: ArrayBuffer[] }) => void }} Port
 */

/**
 * Answers the page of this worker.
 * @param {object} methods
 */
export function serveWorker(methods) {
  serveCalls(methods, self);

  // Held as long as this worker lives.
  navigator.locks?.request(self.name, () => {
    self.postMessage({ alive: true });
    return new Promise(() => {});
  }).catch(() => {}); // a frame without an origin of its own has no locks

  reportRequests();
}

/**
 * @param {object} methods
 * @param {Port} port
 */
export function serveCalls(methods, port) {
  const calls = /** @type {Methods} */ (methods);
  /** @type {Map<number, AbortController>} */
  const aborts = new Map();

  port.addEventListener("message", async (event) => {
    const { id, method, params, timed, abort } = /** @type {MessageEvent} */ (event).data;
    if (abort) {
      aborts.get(id)?.abort();
      return;
    }
    const controller = new AbortController();
    aborts.set(id, controller);
    try {
      const result = await calls[method]?.(params, {
        onProgress: (progress) => port.postMessage({ id, progress }),
        onWarning: (warning) => port.postMessage({ id, warning }),
        onEarly: (early) => port.postMessage({ id, early }),
        onDevice: (device) => port.postMessage({ id, device }),
        onTimes: (times) => timed && port.postMessage({ id, times }),
        signal: controller.signal,
      });
      const transfer = ArrayBuffer.isView(result) ? [/** @type {ArrayBuffer} */ (result.buffer)] : [];
      port.postMessage({ id, result }, { transfer });
    } catch (error) {
      port.postMessage({ id, error: errorMessage(controller.signal.aborted ? abortedError(controller.signal) : error) });
    } finally {
      aborts.delete(id);
    }
  });
}

/**
 * An error without one of our codes is either a wasm trap, after which the memory of the instance can no longer be
 * trusted, or a bug. In both cases this worker cannot go on.
 * @param {unknown} error
 * @returns {ErrorMessage}
 */
export function errorMessage(error) {
  const code = codeOf(error);
  if (code === null) {
    return { code: "worker_failed", message: `the worker stopped (${error}), perhaps because memory ran out`, statusCode: 500 };
  }
  const { message, statusCode } = /** @type {Error & { statusCode: number }} */ (error);
  return { code, message, statusCode };
}
