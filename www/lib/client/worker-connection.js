// The page's connection to one worker: calls it, receives its progress, aborts calls, ends it, and notices when it
// dies.

import { abortedError, ClipError } from "../shared/error.js";
import { workerRequests } from "../shared/requested-urls.js";
import { startWithRetries } from "../shared/retry-start.js";
import { onAbort } from "../shared/waiting.js";
/** @import { WorkerScript } from "./start-worker.js" */
/** @import { Answer, Exchange, Loaded, Progress, Warning } from "../shared/protocol.js" */

/** The error of a call that was not answered before its worker died. */
export class WorkerDeath extends Error {
  /**
   * @param {string} message how it died, as a clause
   * @param {boolean} suspect whether this call may have been what killed it
   */
  constructor(message, suspect) {
    super(message);
    this.suspect = suspect;
  }
}

/**
 * @typedef {object} Call a call that waits for its answer
 * @property {string} method
 * @property {object} params
 * @property {(result: any) => void} resolve
 * @property {(error: ClipError | WorkerDeath) => void} reject
 * @property {(progress: Progress) => void} onProgress
 * @property {(warning: Warning) => void} onWarning
 * @property {(loaded: Loaded) => void} onEarly
 * @property {Exchange["onDevice"]} onDevice
 * @property {((times: any) => void) | undefined} onTimes
 * @property {() => void} forgetSignal
 */

/** Milliseconds that a worker has to store what it has loaded. */
const LEAVE = 5000;

export class WorkerConnection {
  #script;
  /** The name of the lock that the worker holds as long as it lives. */
  #name = `clip-wasm worker ${Date.now()} ${Math.random()}`;
  /** @type {Worker | null} `null` if the page cannot start one */
  #worker = null;
  /** Stops waiting for the worker's start. */
  #stopStarting = () => {};
  #nextId = 0;
  /** @type {Map<number, Call>} */
  #calls = new Map();
  #onDeath;
  /** @type {ClipError | WorkerDeath | null} why the worker has ended */
  #ended = null;
  /** @type {Promise<unknown>[]} the ends of the worker and of its threads, if the browser reports them */
  #ends = [];

  /**
   * @param {WorkerScript} script
   * @param {(death: WorkerDeath) => void} [onDeath] called before the pending calls are rejected
   */
  constructor(script, onDeath = () => {}) {
    this.#script = script;
    this.#onDeath = onDeath;
    startWithRetries(() => this.#start()).catch((event) => this.#fail(event));
  }

  /**
   * Rejects at once when `signal` aborts. A computation that has begun still runs to its end; a load is aborted.
   * Rejects with a {@link WorkerDeath} when the worker dies.
   * @param {string} method
   * @param {object} params
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {(progress: Progress) => void} [options.onProgress]
   * @param {(warning: Warning) => void} [options.onWarning]
   * @param {(loaded: Loaded) => void} [options.onEarly]
   * @param {Exchange["onDevice"]} [options.onDevice]
   * @param {(times: any) => void} [options.onTimes]
   * @returns {Promise<any>}
   */
  async call(method, params, { signal, onProgress = () => {}, onWarning = () => {}, onEarly = () => {}, onDevice = () => {}, onTimes } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const forgetSignal = onAbort(signal, () => {
        this.#worker?.postMessage({ id, abort: true });
        this.#take(id)?.reject(abortedError(/** @type {AbortSignal} */ (signal)));
      });
      this.#calls.set(id, { method, params, resolve, reject, onProgress, onWarning, onEarly, onDevice, onTimes, forgetSignal });
      this.#worker?.postMessage(question(id, { method, params, onTimes }));
    });
  }

  /**
   * Ends the worker, which frees the model's memory. Pending and later calls fail with `error`.
   * @param {ClipError} error
   */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#stop();
    for (const id of [...this.#calls.keys()]) this.#take(id)?.reject(error);
  }

  /**
   * Ends it as {@link end} does, but first gives the worker a moment to store the bytes of an aborted load: the Cache
   * API can only write whole pieces.
   * @param {ClipError} error
   */
  leave(error) {
    if (this.#ended) return;
    this.#ended = error;
    const timer = setTimeout(() => this.#stop(), LEAVE);
    this.#worker?.addEventListener("message", ({ data }) => {
      if (!("error" in data || "result" in data)) return;
      clearTimeout(timer);
      this.#stop();
    });
  }

  /** Whether the worker has ended, or has been ended. */
  get ended() {
    return this.#ended !== null;
  }

  /** Resolves when an ended worker is gone with all of its threads, and its memory is free. */
  async gone() {
    await Promise.all(this.#ends);
  }

  /**
   * Starts the worker, and sends it the pending calls.
   * @returns {Promise<void>} resolves with its first message, or rejects with the error event if it fails before that
   */
  #start() {
    return new Promise((resolve, reject) => {
      this.#stopStarting = resolve;
      if (this.#ended) return resolve();
      this.#worker?.terminate(); // the one before may be running, with a script that threw an error
      let started = false;
      let worker;
      try {
        worker = this.#script.start(this.#name);
      } catch (error) {
        this.end(/** @type {ClipError} */ (error));
        return;
      }
      this.#worker = worker;
      worker.addEventListener("message", ({ data }) => {
        started = true;
        resolve();
        this.#receive(data);
      });
      const fail = (/** @type {Event} */ event) => (started ? this.#fail(event) : reject(event));
      worker.addEventListener("error", fail);
      worker.addEventListener("messageerror", fail);
      for (const [id, call] of this.#calls) worker.postMessage(question(id, call));
    });
  }

  #stop() {
    this.#worker?.terminate();
    this.#stopStarting();
  }

  /** @param {Answer} answer */
  #receive({ alive, requests, thread, id, progress, warning, early, device, times, result, error }) {
    if (alive) this.#ends.push(this.#watch());
    if (thread) this.#watchThread(thread);
    if (requests) workerRequests.dispatchEvent(new CustomEvent("requests", { detail: requests }));
    if (alive || thread || requests) return;
    if (progress || warning || early || device || times) {
      const call = this.#calls.get(id);
      if (progress) call?.onProgress(progress);
      if (warning) call?.onWarning(warning);
      if (early) call?.onEarly(early);
      if (device) call?.onDevice(device);
      if (times) call?.onTimes?.(times);
      return;
    }
    if (error?.code === "worker_failed") this.#die(error.message, id);
    else if (error) this.#take(id)?.reject(new ClipError(error.code, error.message, error));
    else this.#take(id)?.resolve(result);
  }

  /** If the browser ends a worker, for example for lack of memory, there is no event; but its lock becomes free. */
  async #watch() {
    await navigator.locks.request(this.#name, () => this.#die(`the browser has ended ${this.#script.noun}`));
  }

  /**
   * While a worker waits for its threads it cannot receive messages, so a thread that stops reports it to the page.
   * @param {MessagePort} thread
   */
  #watchThread(thread) {
    thread.onmessage = ({ data }) => this.#die(`a thread of the encoder stopped (${data})`);
    if (!("onclose" in thread)) return;
    const closed = new Promise((resolve) => thread.addEventListener("close", resolve));
    this.#ends.push(closed.then(() => this.#die("the browser has ended a thread of the encoder")));
  }

  /** @param {Event} event */
  #fail(event) {
    const reason = "message" in event && event.message ? String(event.message) : this.#script.whyNotStarted();
    this.#die(`${this.#script.noun} failed: ${reason}`);
  }

  /**
   * @param {string} message
   * @param {number} [culprit] the call that killed it; if it is not known, every pending call is a suspect
   */
  #die(message, culprit) {
    if (this.#ended) return;
    const bystander = new WorkerDeath(message, false);
    this.#ended = bystander;
    // Before anything else, so that its memory is free before another worker needs as much.
    this.#stop();
    this.#onDeath(bystander);
    for (const id of [...this.#calls.keys()]) {
      const suspect = culprit === undefined || id === culprit;
      this.#take(id)?.reject(suspect ? new WorkerDeath(message, true) : bystander);
    }
  }

  /**
   * @param {number} id
   * @returns {Call | undefined}
   */
  #take(id) {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    call?.forgetSignal();
    return call;
  }
}

/**
 * @param {number} id
 * @param {Pick<Call, "method" | "params" | "onTimes">} call
 */
function question(id, { method, params, onTimes }) {
  return onTimes ? { id, method, params, timed: true } : { id, method, params };
}
