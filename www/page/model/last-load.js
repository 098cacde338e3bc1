// Whether the page broke down in its last load: a tab that dies for want of memory leaves its mark behind.

const MARK = "clip-wasm-loading";

/**
 * Marks a load that has begun.
 * @param {string} name
 * @returns {() => void} to be called when it has ended, well or not
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
  addEventListener("pagehide", end); // closed by the user, not broken down
  navigator.locks?.request(MARK, () => ended).catch(() => {}); // where it is forbidden, so is what it guards
  return end;
}

/** @returns {Promise<string | null>} what was being loaded when the page broke down, told once */
export async function lastLoadDied() {
  const name = recall();
  if (!name || !navigator.locks) return null;
  const { held = [] } = await navigator.locks.query();
  if (held.some((lock) => lock.name === MARK)) return null; // another tab is at it
  remember(null);
  return name;
}

/** @param {string | null} name */
function remember(name) {
  try {
    if (name === null) localStorage.removeItem(MARK);
    else localStorage.setItem(MARK, name);
  } catch {
    // Without storage nothing is recognised, and nothing else is lost.
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
