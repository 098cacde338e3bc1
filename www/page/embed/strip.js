// A vector as a strip: a bar for each component, up if it is positive, down if it is negative.

import { newElement } from "../shell/elements.js";

/** Of the strip, in pixels. */
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
 * The height of a bar is the square root of its component: half of CLIP's vectors have one or two components that are
 * so much larger than the others that those would not be visible.
 * @param {HTMLCanvasElement} canvas
 * @param {number[]} vector
 */
function paint(canvas, vector) {
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const largest = Math.max(...vector.map(Math.abs)) || 1;
  const middle = canvas.height / 2;
  for (const [x, value] of vector.entries()) {
    const height = Math.sqrt(Math.abs(value) / largest) * middle;
    // Both colours are visible on a light and on a dark page, so the strip need not be painted again when that changes.
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
