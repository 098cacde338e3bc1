// Workers of a library that lies on another origin than the page, as on a CDN. A browser starts only scripts of the
// page's own origin, but what it starts may import any other.

/** @param {string} url of one of the library's modules */
export function isForeign(url) {
  // `location` would do but for sandboxed frames. Node has no origin.
  return globalThis.origin !== undefined && new URL(url).origin !== globalThis.origin;
}

/**
 * A worker that imports a module in its own time, and keeps for it what it is sent meanwhile: from a page without an
 * origin, as in a sandboxed frame, browsers start no module.
 * @param {string} address as in a script
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
 * @param {string} file of a module
 * @param {string} base the address of another one beside it
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
