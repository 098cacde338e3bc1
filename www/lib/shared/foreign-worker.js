// Workers of a library that is on another origin than the page, such as a CDN. A browser starts workers only from
// scripts of the page's own origin, but such a script may import others.

/** @param {string | URL} url of one of the library's files; a bundler's can be relative, though it is a `URL` */
export function isForeign(url) {
  // Not `location`: in sandboxed frames it gives another origin. Node has no origin.
  return globalThis.origin !== undefined && new URL(url, globalThis.location?.href).origin !== globalThis.origin;
}

/**
 * The folder of the library's files, of which the address of a module is known. `import.meta.url` itself would not do:
 * bundlers replace it by the path of a file on the builder's machine.
 * @param {URL} module `pkg/…/clip_wasm_bg.wasm`
 * @returns {URL}
 */
export function libraryOf(module) {
  return new URL("../../", new URL(module, globalThis.location?.href));
}

/**
 * A script that imports a module, and holds messages back until the module is loaded. A page without an origin, such as
 * a sandboxed frame, cannot start a module worker.
 * @param {string} address of the module, as a JavaScript string literal
 */
const importing = (address) => `
const early = [];
const keep = (event) => early.push(event);
addEventListener("message", keep);
import(${address}).then(
  () => {
    removeEventListener("message", keep);
    for (const { data, ports } of early) dispatchEvent(new MessageEvent("message", { data, ports }));
  },
  (error) => setTimeout(() => { throw error; }),
);`;

/**
 * Starts a worker from a library whose files are served unchanged, on any origin.
 * @param {string} path of the worker's script in the library
 * @param {URL | string} library the address of its folder
 * @param {string} [name]
 */
export function startFrom(path, library, name) {
  const url = new URL(path, library);
  return isForeign(url) ? startForeign(url, name) : new Worker(url, { type: "module", name });
}

/**
 * @param {URL} url of the worker's script
 * @param {string} [name]
 */
function startForeign({ href }, name) {
  const address = JSON.stringify(href);
  const hasOrigin = globalThis.origin !== "null";
  const script = new Blob([hasOrigin ? `import ${address};` : importing(address)], { type: "text/javascript" });
  const url = URL.createObjectURL(script);
  const worker = new Worker(url, { type: hasOrigin ? "module" : "classic", name });
  for (const type of ["message", "error"]) worker.addEventListener(type, () => URL.revokeObjectURL(url), { once: true });
  return worker;
}
