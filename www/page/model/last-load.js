// Finds out whether the page crashed during its last load: a tab that dies for lack of memory does not remove its mark.

const MARK = "clip-wasm-loading";

/**
 * Marks that a load has begun.
 * @param {string} name
 * @returns {() => void} removes the mark; to be called when the load has succeeded or failed
 */
export function markLoad(name) {
  let release = () => {};
  const ended = new Promise((resolve) => (release = () => resolve(undefined)));
  const end = () => {
    removeEventListener("pagehide", end);
    remember(null);
    release();
  };
  remember(name);
  addEventListener("pagehide", end); // closed by the user, not crashed
  navigator.locks?.request(MARK, () => ended).catch(() => {}); // if locks are forbidden, so is localStorage
  return end;
}

/** @returns {Promise<string | null>} what was being loaded when the page crashed; reported only once */
export async function lastLoadDied() {
  const name = recall();
  if (!name || !navigator.locks) return null;
  const { held = [] } = await navigator.locks.query();
  if (held.some((lock) => lock.name === MARK)) return null; // another tab is loading it
  remember(null);
  return name;
}

/** @param {string | null} name */
function remember(name) {
  try {
    if (name === null) localStorage.removeItem(MARK);
    else localStorage.setItem(MARK, name);
  } catch {
    // Without storage a crash is not recognised; everything else works.
  }
}

/** @returns {string | null} */
function recall() {
  try {
    return localStorage.getItem(MARK);
  } catch {
    return null;
  }
}
