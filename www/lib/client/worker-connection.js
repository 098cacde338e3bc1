// The page's end of one worker: calls it, hears its progress, gives up a call, ends it, and notices when it dies.

import { SCRIPTS, workers } from "./start-worker.js";
import { abortedError, ClipError } from "../shared/error.js";
import { workerRequests } from "../shared/requests.js";
import { insistently } from "../shared/retry-start.js";
/** @import { WorkerKind } from "./start-worker.js" */
/** @import { Answer, Loaded, Progress, Warning } from "../shared/protocol.js" */


/** @type {Record<WorkerKind, string>} in messages */
const NAMES = { model: "the encoder's worker", pictures: "the worker that reads pictures" };

/**
 * Why a worker may not start: a browser does not say.
 * @param {WorkerKind} kind
 */
const notStarted = (kind) =>
  `it does not start, because lib/${SCRIPTS[kind].replace("../", "")} does not come as JavaScript, or the page's ` +
  "Content-Security-Policy forbids it (worker-src 'self' allows it)";

/** What calls fail with that a worker leaves unanswered when it dies. */
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
 * @property {() => void} forgetSignal
 */

/** Milliseconds that a worker has to put its things away. */
const LEAVE = 5000;

export class WorkerConnection {
  #kind;
  /** Of the lock that the worker holds as long as it lives. */
  #name = `clip-wasm worker ${Date.now()} ${Math.random()}`;
  /** @type {Worker | null} `null` where none may be started */
  #worker = null;
  /** No longer waits for the worker's start. */
  #stopStarting = () => {};
  #nextId = 0;
  /** @type {Map<number, Call>} */
  #calls = new Map();
  #onDeath;
  /** @type {ClipError | WorkerDeath | null} why there is no worker any more */
  #ended = null;
  /** @type {Promise<unknown>[]} of the worker and of each of its threads, where the browser tells */
  #ends = [];

  /**
   * @param {WorkerKind} kind
   * @param {(death: WorkerDeath) => void} [onDeath] told of it before the calls that wait are
   */
  constructor(kind, onDeath = () => {}) {
    this.#kind = kind;
    this.#onDeath = onDeath;
    insistently(() => this.#start()).catch((event) => this.#fail(event));
  }

  /**
   * Rejects at once when `signal` aborts; a computation that has begun still runs to its end, a load does not.
   * Rejects with a {@link WorkerDeath} when the worker dies.
   * @param {string} method
   * @param {object} params
   * @param {object} [options]
   * @param {AbortSignal} [options.signal]
   * @param {(progress: Progress) => void} [options.onProgress]
   * @param {(warning: Warning) => void} [options.onWarning]
   * @param {(loaded: Loaded) => void} [options.onEarly]
   * @returns {Promise<any>}
   */
  async call(method, params, { signal, onProgress = () => {}, onWarning = () => {}, onEarly = () => {} } = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw abortedError(signal);
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#worker?.postMessage({ id, abort: true });
        this.#take(id)?.reject(abortedError(/** @type {AbortSignal} */ (signal)));
      };
      signal?.addEventListener("abort", abort);
      const forgetSignal = () => signal?.removeEventListener("abort", abort);
      this.#calls.set(id, { method, params, resolve, reject, onProgress, onWarning, onEarly, forgetSignal });
      this.#worker?.postMessage({ id, method, params });
    });
  }

  /**
   * Ends the worker and with it the model's memory; what waits, and what comes after, fails with `error`.
   * @param {ClipError} error
   */
  end(error) {
    if (this.#ended) return;
    this.#ended = error;
    this.#stop();
    for (const id of [...this.#calls.keys()]) this.#take(id)?.reject(error);
  }

  /**
   * Ends it as {@link end} does, but leaves the worker a moment to keep what has come of an aborted load: in the Cache
   * API it is written by the piece.
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
   * Begins the worker, and asks of it what waits.
   * @returns {Promise<void>} settles with its first message, or with the event of its failure before that
   */
  #start() {
    return new Promise((resolve, reject) => {
      this.#stopStarting = resolve;
      if (this.#ended) return resolve();
      this.#worker?.terminate(); // it may have got as far as a script that throws
      let started = false;
      let worker;
      try {
        worker = workers.start(this.#kind, this.#name);
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
      for (const [id, { method, params }] of this.#calls) worker.postMessage({ id, method, params });
    });
  }

  #stop() {
    this.#worker?.terminate();
    this.#stopStarting();
  }

  /** @param {Answer} answer */
  #receive({ alive, requests, thread, id, progress, warning, early, result, error }) {
    if (alive) this.#ends.push(this.#watch());
    if (thread) this.#watchThread(thread);
    if (requests) workerRequests.dispatchEvent(new CustomEvent("requests", { detail: requests }));
    if (alive || thread || requests) return;
    if (progress || warning || early) {
      const call = this.#calls.get(id);
      if (progress) call?.onProgress(progress);
      if (warning) call?.onWarning(warning);
      if (early) call?.onEarly(early);
      return;
    }
    if (error?.code === "worker_failed") this.#die(error.message, id);
    else if (error) this.#take(id)?.reject(new ClipError(error.code, error.message, error));
    else this.#take(id)?.resolve(result);
  }

  /** A worker that the browser ends, as for want of memory, says nothing; but its lock is free then. */
  async #watch() {
    await navigator.locks.request(this.#name, () => this.#die(`the browser has ended ${NAMES[this.#kind]}`));
  }

  /**
   * A worker that waits for one of its threads hears nothing, so a thread that stops says so here.
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
    const reason = "message" in event && event.message ? String(event.message) : notStarted(this.#kind);
    this.#die(`${NAMES[this.#kind]} failed: ${reason}`);
  }

  /**
   * @param {string} message
   * @param {number} [culprit] the call that it died of; any may have been where it is not known
   */
  #die(message, culprit) {
    if (this.#ended) return;
    const bystander = new WorkerDeath(message, false);
    this.#ended = bystander;
    // First of all, so that its memory is free before another worker takes as much.
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
