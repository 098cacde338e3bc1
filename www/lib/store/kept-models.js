// The models that are stored on this device.

import { modelLock } from "./model-lock.js";
import { Store } from "./store.js";
import { ClipError } from "../shared/error.js";

/** @import { KeptModel } from "./store.js" */

/**
 * The models that are stored on this device, with the URLs they were loaded from.
 * @returns {Promise<KeptModel[]>}
 */
export async function keptModels() {
  const stores = await Store.all();
  return (await Promise.all(stores.map((store) => store.list()))).flat();
}

/** Milliseconds that a load that was just ended may take to let go of its model. */
const PATIENCE = 1000;

/**
 * Deletes a stored model. Rejects with `in_use` if the model is still being loaded after a second; loads that begin
 * meanwhile wait for that.
 * @param {string} address from which it was loaded
 */
export async function deleteKept(address) {
  const stores = await Store.all();
  const waiting = new AbortController();
  const timer = setTimeout(() => waiting.abort(), PATIENCE);
  try {
    await modelLock(address, { signal: waiting.signal }, async () => {
      clearTimeout(timer);
      await Promise.all(stores.map((store) => store.delete(address)));
    });
  } catch (error) {
    if (!waiting.signal.aborted) throw error;
    throw new ClipError("in_use", "this model is being loaded; try again when it is loaded");
  } finally {
    clearTimeout(timer);
  }
}
