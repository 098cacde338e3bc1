// What was found out about a GPU: kept between visits, so that one that is slow or wrong is not tried again each time.

/** @import { GpuVerdict, Refusal } from "../shared/protocol.js" */

/** @typedef {{ found: number, refusal: Refusal | null }} Kept `found`: the time, in milliseconds since 1970 */

const CACHE = "clip-wasm-gpu";
/** Milliseconds after which a GPU is tried again: drivers are mended. */
const VALID = 30 * 24 * 3600 * 1000;

/**
 * The verdict on an adapter with a model, in this version of this browser.
 * @param {string} adapter its name
 * @param {string} model its key
 * @returns {Promise<GpuVerdict>}
 */
export async function gpuVerdict(adapter, model) {
  const key = `https://clip-wasm.invalid/${[adapter, navigator.userAgent, model].map(encodeURIComponent).join("/")}`;
  const cache = await caches.open(CACHE).catch(() => null); // some pages may not store anything
  /** @type {Kept | null} */
  const kept = (await (await cache?.match(key).catch(() => undefined))?.json().catch(() => null)) ?? null;
  const valid = kept && Date.now() - kept.found < VALID ? kept : null;
  const put = async (/** @type {Refusal | null} */ refusal) => {
    await cache?.put(key, Response.json({ found: Date.now(), refusal })).catch(() => {});
  };
  return {
    refusal: valid?.refusal ?? null,
    isFaster: valid !== null && valid.refusal === null,
    /** Remembers that it is right and faster. */
    accept: () => put(null),
    refuse: put,
  };
}
