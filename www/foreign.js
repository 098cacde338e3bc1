// Workers of a library that lies on another origin than the page, as on a CDN. A browser starts only scripts of the
// page's own origin, but what it starts may import any other.

/** @param {string} url of one of the library's modules */
export function isForeign(url) {
  // `location` would do but for sandboxed frames. Node has no origin.
  return globalThis.origin !== undefined && new URL(url).origin !== globalThis.origin;
}

/**
 * @param {string} file of a module
 * @param {string} base the address of another one beside it
 * @param {string} [name]
 */
export function startForeign(file, base, name) {
  const script = new Blob([`import ${JSON.stringify(new URL(file, base).href)};`], { type: "text/javascript" });
  const url = URL.createObjectURL(script);
  const worker = new Worker(url, { type: "module", name });
  for (const type of ["message", "error"]) worker.addEventListener(type, () => URL.revokeObjectURL(url), { once: true });
  return worker;
}
