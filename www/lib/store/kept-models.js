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

/**
 * Deletes a stored model. Rejects with `in_use` while the model is being loaded.
 * @param {string} address from which it was loaded
 */
export async function deleteKept(address) {
  const stores = await Store.all();
  await modelLock(address, { ifAvailable: true }, async (lock) => {
    if (!lock && globalThis.navigator?.locks) throw new ClipError("in_use", "this model is being loaded; try again when it is loaded");
    await Promise.all(stores.map((store) => store.delete(address)));
  });
}
