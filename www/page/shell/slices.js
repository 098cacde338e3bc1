// Long work in slices, so that the page answers in between.

/** Milliseconds of a slice: a task of more than 50 is felt. */
const SLICE = 12;

export class Slices {
  #end = performance.now() + SLICE;

  /** Resolves at once, or, at the end of a slice, when the browser has done what was waiting. */
  async next() {
    if (performance.now() < this.#end) return;
    await nextTask();
    this.#end = performance.now() + SLICE;
  }
}

/** A message, because browsers hold back the timers of pages that are out of sight. */
function nextTask() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve(undefined);
    };
    port2.postMessage(null);
  });
}
