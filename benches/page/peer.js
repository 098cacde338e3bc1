// Runs another library in its own worker, as a page would do to stay responsive.

/** @import { Contestant, OpenOptions } from "./contestants.js" */

/**
 * @param {URL} script
 * @param {OpenOptions} options
 * @returns {Promise<Contestant>}
 */
export async function openPeer(script, options) {
  const worker = new Worker(script, { type: "module" });
  /**
   * One call at a time.
   * @param {string} method
   * @param {...unknown} params
   * @returns {Promise<any>}
   */
  const call = (method, ...params) =>
    new Promise((resolve, reject) => {
      worker.onmessage = ({ data: { result, error } }) => (error ? reject(new Error(error)) : resolve(result));
      worker.onerror = (event) => reject(new Error(`${script.pathname}: ${event.message}`));
      worker.postMessage({ method, params });
    });
  await call("open", options);
  return {
    prepare: (inputs) => call("prepare", inputs),
    imageTower: (first, count) => call("imageTower", first, count),
    textTower: (set) => call("textTower", set),
    embedImage: (index) => call("embedImage", index),
    embedText: (set) => call("embedText", set),
  };
}
