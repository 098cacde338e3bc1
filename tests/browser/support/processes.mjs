// Measures a browser: the memory of its processes, of the JavaScript of pages and workers, and other things that can
// leak.

import { readFile } from "node:fs/promises";

/** @import { CDPSession, Page } from "playwright-core" */

export class Processes {
  #page;
  #browser;
  #session;

  /**
   * Use {@link Processes.of}.
   * @param {Page} page
   * @param {CDPSession} browser
   * @param {CDPSession} session
   */
  constructor(page, browser, session) {
    this.#page = page;
    this.#browser = browser;
    this.#session = session;
  }

  /** @param {Page} page */
  static async of(page) {
    const browser = page.context().browser();
    if (!browser) throw new Error("this browser does not list its processes");
    const session = await page.context().newCDPSession(page);
    await session.send("Performance.enable");
    return new Processes(page, await browser.newBrowserCDPSession(), session);
  }

  /** Bytes of JavaScript of the page, after its garbage has been collected. */
  async pageHeap() {
    await this.#session.send("HeapProfiler.collectGarbage");
    return (await this.#session.send("Runtime.getHeapUsage")).usedSize;
  }

  /** Bytes of JavaScript of the page's workers together, after their garbage has been collected. */
  async workerHeaps() {
    let bytes = 0;
    for (const { targetId } of await this.#workers()) {
      await this.#ask(targetId, "HeapProfiler.collectGarbage");
      bytes += (await this.#ask(targetId, "Runtime.getHeapUsage")).usedSize;
    }
    return bytes;
  }

  /** Bytes of memory of the largest renderer, which is the page's: the others are spares. */
  async resident() {
    const { processInfo } = await this.#browser.send("SystemInfo.getProcessInfo");
    const renderers = processInfo.filter(({ type }) => type === "renderer");
    return Math.max(...(await Promise.all(renderers.map(({ id }) => residentSize(id)))));
  }

  /** The page's nodes and listeners, after its garbage has been collected. */
  async counts() {
    await this.#session.send("HeapProfiler.collectGarbage");
    const { nodes, jsEventListeners, documents } = await this.#session.send("Memory.getDOMCounters");
    return { nodes, listeners: jsEventListeners, documents };
  }

  async #workers() {
    const { origin } = new URL(this.#page.url());
    const { targetInfos } = await this.#browser.send("Target.getTargets", { filter: [{ type: "worker" }] });
    return targetInfos.filter(({ url }) => url.startsWith(origin));
  }

  /**
   * @param {string} targetId
   * @param {string} method
   * @returns {Promise<any>}
   */
  async #ask(targetId, method) {
    const { sessionId } = await this.#browser.send("Target.attachToTarget", { targetId, flatten: false });
    const answer = new Promise((resolve, reject) => {
      const listen = (/** @type {{ sessionId: string, message: string }} */ event) => {
        const { id, result, error } = JSON.parse(event.message);
        if (event.sessionId !== sessionId || id === undefined) return;
        this.#browser.off("Target.receivedMessageFromTarget", listen);
        if (error) reject(new Error(`${method}: ${error.message}`));
        else resolve(result);
      };
      this.#browser.on("Target.receivedMessageFromTarget", listen);
    });
    await this.#browser.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: 1, method }) });
    const result = await answer;
    await this.#browser.send("Target.detachFromTarget", { sessionId });
    return result;
  }
}

/**
 * @param {number} process
 * @returns {Promise<number>} bytes; 0 if the process has just ended
 */
async function residentSize(process) {
  const status = await readFile(`/proc/${process}/status`, "utf8").catch(() => "");
  return Number(/^VmRSS:\s*(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

/**
 * The rise of the least-squares line from the first to the last value, and the range of the values.
 * @param {number[]} values
 */
export function trend(values) {
  const last = values.length - 1;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let [covariance, variance] = [0, 0];
  for (const [i, value] of values.entries()) {
    covariance += (i - last / 2) * (value - mean);
    variance += (i - last / 2) ** 2;
  }
  return { rise: (covariance / variance) * last, range: Math.max(...values) - Math.min(...values) };
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
