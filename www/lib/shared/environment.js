// What the library needs from its environment. These are a browser's versions; node.js replaces some with Node's.

export const environment = {
  /** @type {(url: string, options?: RequestInit) => Promise<Response>} */
  fetch: (url, options) => fetch(url, options),

  /**
   * Resolves a URL against the page: a worker would resolve it against its own script.
   * @type {(url: string | URL) => string}
   */
  absoluteUrl: (url) => new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href,

  /** `null` if there are none: without HTTPS, and in a sandboxed frame, where even reading the property throws. */
  serviceWorkers() {
    try {
      return /** @type {ServiceWorkerContainer | undefined} */ (navigator.serviceWorker) ?? null;
    } catch {
      return null;
    }
  },

  /** How many threads can run at once. */
  cores: () => globalThis.navigator?.hardwareConcurrency || 1,

  /** Whether models can be stored for the next visit; a page opened from a disk has no storage for them. */
  keeps: () => globalThis.location?.protocol !== "file:",

  /** Whether the endpoint fetches images that a request names. */
  fetchesImages: true,

  /** Whether encoders work in a worker of their own, unless the caller says otherwise. */
  worker: true,

  /**
   * Whether this site has a file. Node looks on its disk too.
   * @type {(url: string) => Promise<boolean>}
   */
  async has(url) {
    const response = await environment.fetch(url, { method: "HEAD" }).catch(() => null);
    // Many hosts send a web page in place of a missing file.
    return response !== null && response.ok && !response.headers.get("content-type")?.startsWith("text/html");
  },

  /**
   * The same bytes as a blob that a worker can be sent.
   * @type {(blob: Blob) => Blob | Promise<Blob>}
   */
  sendable: (blob) => blob,

  /** Prepares a signal for as many listeners as there are calls. @type {(signal: AbortSignal) => void} */
  acceptListeners: () => {},

  /** Resolves after this many milliseconds. @type {(milliseconds: number) => Promise<void>} */
  wait: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
};
