// Ways for a worker to die: by real traps of the wasm module, or ended as a browser would end it.

import { script } from "./loads.mjs";

/** @import { Page } from "playwright-core" */
/** @import { StaticServer } from "./server.mjs" */

/** Texts that kill a worker. An image kills it if all its levels are a mark's position in this list, counted from 1. */
export const TRAP = "x/trap";
export const END = "x/end";
export const END_HELPER = "x/end-helper";
export const MARKS = [TRAP, END, END_HELPER];

/**
 * A script that a worker runs before its own. A deadly input removes the module's functions, if they are exported, or
 * overwrites its memory, so that the module itself traps at its next step; or it ends the worker during the call. Each
 * load first asks the server for its fate.
 */
export const MORTAL = script(
  ({ TRAP, END, END_HELPER, MARKS }) => {
    const { instantiate } = WebAssembly;
    /** @type {{ memory: WebAssembly.Memory, functions?: WebAssembly.Table }} */
    let wasm;
    let isHelper = false;
    WebAssembly.instantiate = async (/** @type {any} */ module, /** @type {WebAssembly.Imports | undefined} */ imports) => {
      /** @type {any} */
      const made = await instantiate(module, imports);
      wasm = (made.instance ?? made).exports;
      return made;
    };
    /** Ends the worker, but not before the page watches its lock: otherwise the page would not notice. */
    const endWatched = async () => {
      const isHeld = async () => (await navigator.locks.query()).held?.some(({ name }) => name === self.name);
      for (let tries = 0; tries < 1000 && !(await isHeld()); tries++) await new Promise((resolve) => setTimeout(resolve, 10));
      setTimeout(() => self.close(), 50);
    };
    self.addEventListener("message", (event) => {
      const { method, params } = event.data;
      if (method === "load") {
        isHelper = params.towers?.length === 1 && params.towers[0] === "vision";
        const fate = new XMLHttpRequest();
        fate.open("GET", `/fate?${params.towers ?? "all"}`, false);
        fate.send();
        if (fate.responseText === "end") {
          event.stopImmediatePropagation();
          endWatched();
        }
      }
      const ofSquare = (/** @type {Uint8Array} */ pixels) => (pixels.every((level) => level === pixels[0]) ? MARKS[Number(pixels[0]) - 1] : undefined);
      const marks = [...(params?.texts ?? []), ...(params?.squares ?? []).map(ofSquare)];
      const mark = marks.find((mark) => MARKS.includes(mark));
      if (mark === TRAP && wasm.functions) for (let i = 0; i < wasm.functions.length; i++) wasm.functions.set(i, null);
      else if (mark === TRAP) new Uint8Array(wasm.memory.buffer).fill(255, 1 << 10);
      if (mark === END || (mark === END_HELPER && isHelper)) {
        event.stopImmediatePropagation();
        self.close();
      }
    });
  },
  { TRAP, END, END_HELPER, MARKS },
);

/**
 * Adds to a page with the API the marks that kill a worker, `image`, and `held`.
 * @param {Page} page
 */
export async function addDeaths(page) {
  await page.evaluate(
    ({ TRAP, END, END_HELPER, MARKS }) => {
      const count = async () => Number((await navigator.locks.query()).held?.filter(({ name }) => name?.startsWith("clip-wasm worker")).length);
      window.held = async () => {
        for (let tries = 0; tries < 1000 && (await count()) > 0; tries++) await new Promise((resolve) => setTimeout(resolve, 20));
        return count();
      };
      /** The cat, or a bitmap of one pixel that kills a worker. */
      window.image = (mark) => {
        const level = MARKS.indexOf(mark) + 1;
        if (level === 0) return window.cat;
        const bytes = new Uint8Array(58).fill(level, 54, 57);
        bytes.set([0x42, 0x4d]);
        const view = new DataView(bytes.buffer);
        for (const [at, value] of /** @type {const} */ ([[2, 58], [10, 54], [14, 40], [18, 1], [22, 1], [34, 4]])) view.setUint32(at, value, true);
        view.setUint16(26, 1, true);
        view.setUint16(28, 24, true);
        return new Blob([bytes]);
      };
      Object.assign(window, { TRAP, END, END_HELPER });
    },
    { TRAP, END, END_HELPER, MARKS },
  );
}

/**
 * Sets the fate of the workers that load, one after the other: \`end\`, or nothing.
 * @param {StaticServer} server
 * @param {string[]} fates
 * @returns {string[]} the loads that have been started, by their towers
 */
export function setFates(server, fates) {
  /** @type {string[]} */
  const loads = [];
  server.answer("/fate", (request, response) => {
    loads.push(decodeURIComponent(String(request.url?.split("?")[1])));
    response.writeHead(200, { "cache-control": "no-store" }).end(fates.shift() ?? "");
  });
  return loads;
}

/**
 * A wasm module that also exports its table of functions. If the table is emptied, the module traps at its next
 * indirect call.
 * @param {Buffer} module
 * @returns {Buffer}
 */
export function withTableExported(module) {
  const EXPORTS = 7;
  let at = 8; // after magic and version
  while (module[at] !== EXPORTS) {
    const size = readLeb(module, at + 1);
    at = size.end + size.value;
  }
  const size = readLeb(module, at + 1);
  const count = readLeb(module, size.end);
  const name = Buffer.from("functions");
  const added = Buffer.from([name.length, ...name, 0x01, 0x00]); // the first table
  const content = Buffer.concat([leb(count.value + 1), module.subarray(count.end, size.end + size.value), added]);
  return Buffer.concat([module.subarray(0, at), Buffer.from([EXPORTS]), leb(content.length), content, module.subarray(size.end + size.value)]);
}

/**
 * @param {Buffer} bytes
 * @param {number} at
 */
function readLeb(bytes, at) {
  let [value, shift, end] = [0, 0, at];
  for (;;) {
    const byte = bytes.readUInt8(end++);
    value |= (byte & 127) << shift;
    shift += 7;
    if (byte < 128) return { value, end };
  }
}

/** @param {number} value */
function leb(value) {
  const bytes = [];
  for (; value > 127; value >>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}
