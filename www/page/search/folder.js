// The pictures of a folder that was picked, dropped, or opened with a stored handle.

import { ClipError } from "../../clip.js";

/**
 * A picture to index. Its bytes stay on the disk until they are needed.
 * @typedef {object} Picture
 * @property {string} folder the name of the outermost folder; empty for a single file
 * @property {string} path below that folder
 * @property {File} file
 * @property {number} size of the file, in bytes. To ask the file takes a browser so long that it is asked once
 * @property {number} lastModified when the file was changed, in milliseconds since 1970
 */

/** @typedef {Pick<Picture, "folder" | "path" | "file">} FoundFile */

/**
 * A folder, or single files, to be indexed.
 * @typedef {object} Source
 * @property {string} folder
 * @property {FileSystemDirectoryHandle} [handle] with which the folder can be opened again at the next visit
 * @property {() => AsyncGenerator<FoundFile | Unread, void, void>} pictures
 */

/**
 * A part of a folder that cannot be read.
 * @typedef {{ folder: string, path: string, error: ClipError }} Unread
 */

/** For files whose type the operating system does not give. */
const IMAGE_NAME = /\.(jpe?g|jpe|jfif|png|apng|webp|gif|bmp|dib|tiff?|avif|hei[cf])$/i;

/** Files that may be dropped together with pictures, but are not for the index. */
const MODEL_NAME = /\.(gguf|safetensors|bin|json)$/i;

/**
 * @param {Pick<File, "name" | "type">} file
 * @returns {boolean} whether it is likely to be a picture that the encoder takes
 */
function isPicture({ name, type }) {
  if (name.startsWith(".")) return false; // such as the ._ files that macOS writes to other disks
  return IMAGE_NAME.test(name) || (type.startsWith("image/") && type !== "image/svg+xml");
}

/**
 * @param {{ folder: string, path: string }} picture
 * @returns {string} its path from the outermost folder on, which is unique
 */
export function fullPath({ folder, path }) {
  return `${folder}/${path}`;
}

/**
 * @param {string | undefined} folder; `undefined` for any folder
 * @param {string} path the full one
 */
export function isWithin(folder, path) {
  return folder === undefined || path.startsWith(`${folder}/`);
}

/**
 * @param {Iterable<File>} files of an `<input>`, with or without `webkitdirectory`
 * @returns {Source[]}
 */
export function sourcesOfFiles(files) {
  /** @type {Map<string, FoundFile[]>} */
  const folders = new Map();
  for (const file of files) {
    const [folder = "", ...rest] = file.webkitRelativePath.split("/");
    const path = rest.join("/") || file.name;
    // A single file is always tried, even if it does not look like a picture: the user wants it, or the reason why not.
    const isWanted = folder ? isPicture(file) && !rest.some((name) => name.startsWith(".")) : !MODEL_NAME.test(file.name);
    if (!isWanted) continue;
    const pictures = folders.get(folder) ?? [];
    if (pictures.push({ folder, path, file }) === 1) folders.set(folder, pictures);
  }
  return [...folders].map(([folder, pictures]) => ({
    folder,
    async *pictures() {
      yield* pictures;
    },
  }));
}

/**
 * Must be called during the event: afterwards the browser empties the transfer.
 * @param {DataTransfer} transfer
 * @returns {{ sources: Promise<Source[]>, single: File | null }} `single`: the file, if it is the only one
 */
export function sourcesOfTransfer(transfer) {
  const given = [...transfer.items]
    .filter(({ kind }) => kind === "file")
    .map((item) => ({ file: item.getAsFile(), entry: item.webkitGetAsEntry?.() ?? null, handle: handleOf(item) }));
  const only = given.length === 1 && !given[0]?.entry?.isDirectory ? given[0]?.file : null;
  return { single: only ?? null, sources: openAll(given) };
}

/**
 * @param {{ file: File | null, entry: FileSystemEntry | null, handle: Promise<FileSystemHandle | null> }[]} given
 * @returns {Promise<Source[]>}
 */
async function openAll(given) {
  /** @type {Source[]} */
  const sources = [];
  /** @type {File[]} */
  const files = [];
  for (const { file, entry, handle } of given) {
    const found = await handle;
    if (found?.kind === "directory") sources.push(sourceOfHandle(/** @type {FileSystemDirectoryHandle} */ (found)));
    else if (entry?.isDirectory) sources.push(sourceOfEntry(/** @type {FileSystemDirectoryEntry} */ (entry)));
    else if (file) files.push(file);
  }
  return [...sources, ...sourcesOfFiles(files)];
}

/**
 * A handle can be stored for the next visit. Only Chromium gives one for a dropped folder.
 * @param {DataTransferItem} item
 * @returns {Promise<FileSystemHandle | null>}
 */
async function handleOf(item) {
  const getter = /** @type {{ getAsFileSystemHandle?: () => Promise<FileSystemHandle | null> }} */ (item);
  try {
    return (await getter.getAsFileSystemHandle?.()) ?? null;
  } catch {
    return null; // the entry can be used instead
  }
}

/**
 * @param {FileSystemDirectoryHandle} handle
 * @returns {Source}
 */
export function sourceOfHandle(handle) {
  const folder = handle.name;
  return { folder, handle, pictures: () => walkHandle(handle, folder, "") };
}

/**
 * @param {FileSystemDirectoryHandle} directory
 * @param {string} folder
 * @param {string} prefix
 * @returns {AsyncGenerator<FoundFile | Unread, void, void>}
 */
async function* walkHandle(directory, folder, prefix) {
  try {
    const handles = /** @type {{ values(): AsyncIterable<FileSystemHandle> }} */ (/** @type {unknown} */ (directory)).values();
    for await (const handle of handles) {
      const path = prefix + handle.name;
      if (handle.kind === "directory") {
        if (!handle.name.startsWith(".")) yield* walkHandle(/** @type {FileSystemDirectoryHandle} */ (handle), folder, `${path}/`);
      } else if (isPicture({ name: handle.name, type: "" })) {
        yield await opened(folder, path, () => /** @type {FileSystemFileHandle} */ (handle).getFile());
      }
    }
  } catch (cause) {
    yield unread(folder, prefix, cause);
  }
}

/**
 * @param {FileSystemDirectoryEntry} root
 * @returns {Source}
 */
function sourceOfEntry(root) {
  return { folder: root.name, pictures: () => walkEntry(root, root.name, "") };
}

/**
 * @param {FileSystemDirectoryEntry} directory
 * @param {string} folder
 * @param {string} prefix
 * @returns {AsyncGenerator<FoundFile | Unread, void, void>}
 */
async function* walkEntry(directory, folder, prefix) {
  try {
    const reader = directory.createReader();
    for (;;) {
      /** @type {FileSystemEntry[]} */
      const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (entries.length === 0) return; // only an empty list is the end: a browser gives a hundred at a time
      for (const entry of entries) {
        const path = prefix + entry.name;
        if (entry.isDirectory) {
          if (!entry.name.startsWith(".")) yield* walkEntry(/** @type {FileSystemDirectoryEntry} */ (entry), folder, `${path}/`);
        } else if (isPicture({ name: entry.name, type: "" })) {
          const file = /** @type {FileSystemFileEntry} */ (entry);
          yield await opened(folder, path, () => new Promise((resolve, reject) => file.file(resolve, reject)));
        }
      }
    }
  } catch (cause) {
    yield unread(folder, prefix, cause);
  }
}

/**
 * @param {string} folder
 * @param {string} path
 * @param {() => Promise<File>} open
 * @returns {Promise<FoundFile | Unread>}
 */
async function opened(folder, path, open) {
  try {
    return { folder, path, file: await open() };
  } catch (cause) {
    return unread(folder, path, cause);
  }
}

/**
 * @param {string} folder
 * @param {string} path
 * @param {unknown} cause
 * @returns {Unread}
 */
function unread(folder, path, cause) {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return { folder, path, error: new ClipError("io", `${path || folder} cannot be read: ${reason}`, { cause }) };
}
