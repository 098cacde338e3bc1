// A vector as a strip: a bar for each component, up or down and the darker the larger.

import { newElement } from "../shell/elements.js";

/** Of the strip, in CSS pixels. */
const HEIGHT = 22;

/**
 * @param {number[]} vector
 * @returns {HTMLCanvasElement}
 */
export function strip(vector) {
  const size = { width: vector.length, height: HEIGHT };
  const canvas = newElement("canvas", { class: "strip", ...size, role: "img", "aria-label": describe(vector) });
  paint(canvas, vector);
  return canvas;
}

/**
 * Half of CLIP's vectors have one or two components far larger than all others, beside which those would not be
 * seen: heights go by the square root.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} vector
 */
function paint(canvas, vector) {
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const largest = Math.max(...vector.map(Math.abs)) || 1;
  const middle = canvas.height / 2;
  for (const [x, value] of vector.entries()) {
    const height = Math.sqrt(Math.abs(value) / largest) * middle;
    // Both are read on paper and on ink, so that the strip need not be painted anew when the scheme changes.
    pen.fillStyle = value > 0 ? "#2f8f86" : "#c2703d";
    pen.fillRect(x, value > 0 ? middle - height : middle, 1, height);
  }
}

/** @param {number[]} vector */
function describe(vector) {
  const sizes = vector.map(Math.abs);
  const index = sizes.indexOf(Math.max(...sizes));
  return `${vector.length} components; the largest is number ${index}, ${vector[index]?.toFixed(3)}`;
}
