// What computes, as the page says it.

/** @import { ClipEncoder } from "../../clip.js" */

/**
 * @param {Pick<ClipEncoder, "device" | "threads">} encoder
 * @returns {string} such as "2 threads", or "GPU (Apple M1)"
 */
export function computes({ device, threads }) {
  if (device.name === "webgpu") return `GPU (${device.adapter})`;
  return threads === 1 ? "1 thread" : `${threads} threads`;
}
