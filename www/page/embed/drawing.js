// The drawing pad: a small canvas. Its picture is an input like any other.

import { elementById, newElement } from "../shell/elements.js";

/** @typedef {{ x: number, y: number }} Point in the canvas's own pixels */
/** @typedef {{ colour: string, width: number, points: Point[] }} Stroke */

/** Colours in sRGB, with the names that the demo model knows. */
const COLOURS = {
  black: "#18181b", red: "#d62626", orange: "#f6861c", yellow: "#fad830", green: "#30963c", cyan: "#38c8d4",
  blue: "#2a54cc", purple: "#7c34a6", pink: "#f68cba", brown: "#764824", gray: "#8a8a8d", white: "#f8f8f6",
};
const PAPER = "#ffffff";

const section = elementById("drawing", HTMLElement);
const toggle = elementById("draw", HTMLButtonElement);
const canvas = elementById("drawing-canvas", HTMLCanvasElement);
const palette = elementById("drawing-colours", HTMLFieldSetElement);
const widthField = elementById("drawing-width", HTMLInputElement);
const undoButton = elementById("drawing-undo", HTMLButtonElement);
const clearButton = elementById("drawing-clear", HTMLButtonElement);

export class DrawingPad {
  /** @type {Stroke[]} */
  #strokes = [];
  /** @type {(picture: File | null) => void} */
  #onChange;

  /**
   * @param {object} listeners
   * @param {() => void} listeners.onOpen
   * @param {(picture: File | null) => void} listeners.onChange after each stroke; `null` for an empty sheet
   */
  constructor({ onOpen, onChange }) {
    this.#onChange = onChange;
    this.#showPalette();
    toggle.addEventListener("click", () => {
      section.hidden = !section.hidden;
      toggle.setAttribute("aria-expanded", String(!section.hidden));
      if (!section.hidden) {
        onOpen();
        section.scrollIntoView({ block: "nearest" });
      }
    });
    canvas.addEventListener("pointerdown", (event) => this.#begin(event));
    undoButton.addEventListener("click", () => this.#replace(this.#strokes.slice(0, -1)));
    clearButton.addEventListener("click", () => this.clear());
    this.#paint();
  }

  /** Removes all strokes. */
  clear() {
    if (this.#strokes.length) this.#replace([]);
  }

  #showPalette() {
    for (const [name, colour] of Object.entries(COLOURS)) {
      const radio = newElement("input", { type: "radio", name: "drawing-colour", value: colour, "aria-label": name });
      radio.checked = name === "black";
      const label = newElement("label", { title: name }, radio);
      label.style.setProperty("--colour", colour);
      palette.append(label);
    }
  }

  /** @param {PointerEvent} start */
  #begin(start) {
    if (start.button !== 0) return;
    const chosen = /** @type {HTMLInputElement | null} */ (palette.querySelector(":checked"));
    /** @type {Stroke} */
    const stroke = { colour: chosen?.value ?? COLOURS.black, width: Number(widthField.value), points: [position(start)] };
    this.#strokes.push(stroke);
    this.#paint();
    canvas.setPointerCapture(start.pointerId);
    const move = (/** @type {PointerEvent} */ event) => {
      stroke.points.push(position(event));
      this.#paint();
    };
    const end = () => {
      canvas.removeEventListener("pointermove", move);
      canvas.removeEventListener("pointerup", end);
      canvas.removeEventListener("pointercancel", end);
      this.#tell();
    };
    canvas.addEventListener("pointermove", move);
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
  }

  /** @param {Stroke[]} strokes */
  #replace(strokes) {
    this.#strokes = strokes;
    this.#paint();
    this.#tell();
  }

  #paint() {
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.fillStyle = PAPER;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.lineCap = pen.lineJoin = "round";
    for (const { colour, width, points } of this.#strokes) {
      pen.strokeStyle = colour;
      pen.lineWidth = width;
      pen.beginPath();
      // A stroke of one point is a dot.
      for (const { x, y } of points.length > 1 ? points : [...points, ...points]) pen.lineTo(x, y);
      pen.stroke();
    }
    undoButton.disabled = clearButton.disabled = this.#strokes.length === 0;
  }

  #tell() {
    if (this.#strokes.length === 0) {
      this.#onChange(null);
      return;
    }
    const strokes = this.#strokes.length;
    canvas.toBlob((blob) => {
      // If another stroke was drawn meanwhile, it makes its own call.
      if (blob && strokes === this.#strokes.length) this.#onChange(new File([blob], "drawing.png", { type: "image/png" }));
    });
  }
}

/**
 * @param {PointerEvent} event
 * @returns {Point}
 */
function position(event) {
  const { left, top, width, height } = canvas.getBoundingClientRect();
  return {
    x: ((event.clientX - left) / width) * canvas.width,
    y: ((event.clientY - top) / height) * canvas.height,
  };
}
