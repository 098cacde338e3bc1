// What the library asks of where it runs. A page and a worker have it; node.js puts Node's in its place.

export const environment = {
  /** @type {(url: string, options?: RequestInit) => Promise<Response>} */
  fetch: (url, options) => fetch(url, options),

  /**
   * Relative to the page: a worker would resolve it against itself.
   * @type {(url: string | URL) => string}
   */
  absoluteUrl: (url) => new URL(url, globalThis.document?.baseURI ?? location.href).href,

  /** `null` where there are none: without HTTPS, and in a sandboxed frame, where even to look for them throws. */
  serviceWorkers() {
    try {
      return /** @type {ServiceWorkerContainer | undefined} */ (navigator.serviceWorker) ?? null;
    } catch {
      return null;
    }
  },

  /** How many threads can run at once. */
  cores: () => navigator.hardwareConcurrency || 1,

  /** Whether models can be kept for the next visit; a page opened from a disk has nowhere to. */
  keeps: () => location.protocol !== "file:",

  /** Resolves after so many milliseconds. @type {(milliseconds: number) => Promise<void>} */
  wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};
