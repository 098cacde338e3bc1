// Refuses a model that this device is not likely to have memory for, before its weights are fetched.

import { ClipError } from "../shared/error.js";
import { deviceMemory } from "../shared/device-memory.js";
import { gigabytes } from "../shared/units.js";

/** Memory beside the weights: the module itself, and the values of the layers. In bytes. */
const WORKING_MEMORY = 100e6;
/** The part of the device's memory that one page is likely to get. */
const MEMORY_SHARE = 0.5;
/** What WebAssembly can address, in bytes. */
const MOST_MEMORY = 2 ** 32;

/** @param {number} weightsSize bytes of memory */
export function refuseTooLarge(weightsSize) {
  const need = weightsSize + WORKING_MEMORY;
  const room = Math.min(deviceMemory() * MEMORY_SHARE, MOST_MEMORY);
  if (need <= room) return;
  throw new ClipError(
    "low_memory",
    `this model takes ${gigabytes(need)} of memory, and this device is not likely to give a page more than ${gigabytes(room)}; ` +
      "choose a smaller model or type, such as q4_0",
  );
}
