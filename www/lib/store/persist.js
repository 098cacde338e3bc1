// Asks the browser to keep what is stored.

/**
 * Without this the browser may delete stored models when the disk fills up. It may refuse, or ask the user, as Firefox
 * does; so users who have not interacted with the page yet are not asked.
 */
export function askToPersist() {
  const { storage, userActivation } = globalThis.navigator ?? {};
  if (userActivation?.hasBeenActive !== false) storage?.persist?.().catch(() => {});
}
