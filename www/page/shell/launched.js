// What other apps open the page with: pictures and texts that are shared with it, and files that are opened with it.

import { ClipError } from "../../clip.js";
import { SHARING } from "./sharing.js";

/** @typedef {{ files: File[], texts: string[] }} Launched */
/** @typedef {{ setConsumer: (consumer: (launch: { files?: FileSystemFileHandle[] }) => void) => void }} LaunchQueue */

/** What sw.js says went wrong, and what to do. @type {Record<string, string>} */
const FAILURES = {
  nothing_shared: "nothing was shared that can be embedded: share pictures, or a text",
  share_not_kept: "what was shared does not fit into this browser's storage: share fewer pictures at once, or free some space",
  share_failed: "what was shared could not be read: share it again, or open the page and add it there",
};

/**
 * Gives what the page was opened with, once, and later what it is opened with again. Removes from the address what says
 * that something was shared, so that a reload does not ask for it again.
 * @param {(launched: Launched) => void} give files, or a text that was shared alone
 * @param {(error: ClipError) => void} fail with `nothing_shared`, `share_not_kept`, `share_failed`, `share_taken` or `io`
 * @returns {Promise<void>} settles when what was shared has been given
 */
export async function takeLaunched(give, fail) {
  const { launchQueue } = /** @type {{ launchQueue?: LaunchQueue }} */ (/** @type {unknown} */ (globalThis));
  launchQueue?.setConsumer(({ files = [] }) => {
    if (files.length > 0) opened(files).then(give, fail);
  });
  const { id, failure } = askedFor();
  if (failure !== null) fail(failureOf(failure));
  else if (id !== null) await takeShared(id).then(give, fail);
}

/** What the page's address says was shared, which it no longer says afterwards. */
function askedFor() {
  const url = new URL(location.href);
  const id = url.searchParams.get(SHARING.id);
  const failure = url.searchParams.get(SHARING.failure);
  if (id !== null || failure !== null) {
    url.searchParams.delete(SHARING.id);
    url.searchParams.delete(SHARING.failure);
    history.replaceState(history.state, "", url);
  }
  return { id, failure };
}

/**
 * @param {string} id
 * @returns {Promise<Launched>}
 */
async function takeShared(id) {
  const name = SHARING.cache + id;
  const taken = new ClipError("share_taken", "what was shared has been taken already: share it again");
  try {
    if (!(await caches.has(name))) throw taken;
    const cache = await caches.open(name);
    // The list is stored last, before the page is opened: if it is missing, another tab has just deleted all.
    if (!(await cache.match(SHARING.list))) {
      await caches.delete(name);
      throw taken;
    }
    const { files, texts } = await read(cache);
    // Only one of several tabs deletes it, and so takes it.
    if (!(await caches.delete(name))) throw taken;
    return { files, texts };
  } catch (error) {
    throw error === taken ? taken : failureOf("share_failed", error);
  }
}

/**
 * @param {Cache} cache
 * @returns {Promise<Launched>}
 */
async function read(cache) {
  const { count, texts } = await must(cache.match(SHARING.list)).then((list) => list.json());
  const files = Array.from({ length: count }, async (_, index) => {
    const response = await must(cache.match(`file-${index}`));
    const bytes = await response.blob();
    return new File([bytes], decodeURIComponent(response.headers.get(SHARING.name) ?? ""), { type: bytes.type });
  });
  return { files: await Promise.all(files), texts };
}

/** @param {Promise<Response | undefined>} found */
async function must(found) {
  const response = await found;
  if (!response) throw new Error("a part of it is missing");
  return response;
}

/**
 * @param {FileSystemFileHandle[]} handles
 * @returns {Promise<Launched>}
 */
async function opened(handles) {
  const files = handles.map((handle) =>
    handle.getFile().catch((cause) => {
      throw new ClipError("io", `${handle.name} cannot be read: has it been moved, or may this page not read it?`, { cause });
    }),
  );
  return { files: await Promise.all(files), texts: [] };
}

/**
 * @param {string} code from the page's address, which anyone can write
 * @param {unknown} [cause]
 */
function failureOf(code, cause) {
  const known = Object.hasOwn(FAILURES, code) ? code : "share_failed";
  return new ClipError(known, /** @type {string} */ (FAILURES[known]), { cause });
}
