// Workers of a library that is on another origin than the page, such as a CDN. A browser starts workers only from
// scripts of the page's own origin, but such a script may import others.

/** @param {string} url of one of the library's modules */
export function isForeign(url) {
  // Not `location`: in sandboxed frames it gives another origin. Node has no origin.
  return globalThis.origin !== undefined && new URL(url).origin !== globalThis.origin;
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
 * @param {string} file of a module, relative to `base`
 * @param {string} base the URL of another module
 * @param {string} [name]
 */
export function startForeign(file, base, name) {
  const address = JSON.stringify(new URL(file, base).href);
  const hasOrigin = globalThis.origin !== "null";
  const script = new Blob([hasOrigin ? `import ${address};` : importing(address)], { type: "text/javascript" });
  const url = URL.createObjectURL(script);
  const worker = new Worker(url, { type: hasOrigin ? "module" : "classic", name });
  for (const type of ["message", "error"]) worker.addEventListener(type, () => URL.revokeObjectURL(url), { once: true });
  return worker;
}
