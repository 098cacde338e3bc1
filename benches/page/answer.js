// The worker's side of peer.js.

/** @param {Record<string, (...params: any[]) => unknown>} methods */
export function answer(methods) {
  self.addEventListener("message", async ({ data: { method, params } }) => {
    try {
      const run = methods[method];
      if (!run) throw new Error(`this peer has no ${method}`);
      self.postMessage({ result: await run(...params) });
    } catch (error) {
      self.postMessage({ error: error instanceof Error ? error.stack : String(error) });
    }
  });
}
