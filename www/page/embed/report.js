// What a report of the time of an input says: the stages, what computed, and the text that is copied.

import { megabytes } from "../../lib/shared/units.js";
import { modelName } from "../model/names.js";
import { computes } from "../shell/computes.js";

/** @import { ClipEncoder, ImageTimings, TextTimings } from "../../clip.js" */

/** @typedef {ImageTimings | TextTimings} Timings of an image or of a text */
/** @typedef {Pick<ClipEncoder, "device" | "threads" | "info">} Computing */

/**
 * What a report says beside the timings and the encoder.
 * @typedef {object} Surroundings
 * @property {string} version of the page
 * @property {Date} date
 * @property {string} userAgent
 * @property {number} hardwareConcurrency
 * @property {boolean} crossOriginIsolated
 */

/** @typedef {{ name: "read" | "decode" | "resize" | "tower" | "waiting", milliseconds: number, note: string }} Stage */

/**
 * The stages of an input, in the order in which it passes through them.
 * @param {Timings} timings
 * @returns {Stage[]}
 */
export function stagesOf(timings) {
  const { tower, batch, waiting } = timings;
  const noun = "decode" in timings ? "images" : "texts";
  /** @type {Stage[]} */
  const last = [
    { name: "tower", milliseconds: tower, note: batch > 1 ? `for ${batch} ${noun} together` : "" },
    { name: "waiting", milliseconds: waiting, note: "" },
  ];
  if (!("decode" in timings)) return last;
  const { read, decode, resize, decoder } = timings;
  return [
    { name: "read", milliseconds: read, note: "" },
    { name: "decode", milliseconds: decode, note: decoder === "browser" ? "by the browser" : decoder === null ? "pixels, copied" : "" },
    { name: "resize", milliseconds: resize, note: "" },
    ...last,
  ];
}

/**
 * @param {number} time in milliseconds
 * @returns {string} with three digits, or fewer: browsers' clocks are no finer
 */
export function milliseconds(time) {
  return `${time >= 99.95 ? Math.round(time) : time.toFixed(time >= 9.995 ? 1 : 2)} ms`;
}

/**
 * What computed, in a line.
 * @param {Computing} encoder
 * @returns {string}
 */
export function computedBy({ device, threads, info }) {
  const parts = device.name === "webgpu" ? [] : [device.build];
  return [computes({ device, threads }), ...parts, device.products, modelName(info)].join(" · ");
}

/**
 * A report in plain text.
 * @param {Timings} timings
 * @param {Computing} encoder
 * @param {Surroundings} surroundings
 * @returns {string}
 */
export function reportOf(timings, { device, threads, info }, { version, date, userAgent, hardwareConcurrency, crossOriginIsolated }) {
  const lines = [
    ["clip-wasm", version],
    ["date", date.toISOString()],
    ["model", `${info.name ?? "unnamed"}, ${info.type}, ${info.size === null ? "size unknown" : megabytes(info.size)}`],
    ["device", device.adapter === undefined ? device.name : `${device.name} (${device.adapter})`],
    ["build", device.build],
    ["products", device.products],
    ["threads", threads],
    ["browser", userAgent],
    ["cores", hardwareConcurrency],
    ["cross-origin isolated", crossOriginIsolated ? "yes" : "no"],
    ["input", "decode" in timings ? "image" : "text"],
    ...stagesOf(timings).map(({ name, milliseconds: time, note }) => [name, note === "" ? milliseconds(time) : `${milliseconds(time)}, ${note}`]),
    ["total", milliseconds(timings.total)],
  ];
  return lines.map(([name, value]) => `${name}: ${value}\n`).join("");
}
