// What the page and its service worker agree on, to pass on what other apps share. packaging/service-worker.mjs writes it
// into sw.js; the manifest has the path and the names of the fields.

export const SHARING = {
  /** Where browsers send what is shared, relative to the page. */
  path: "share",
  /** The form's field of files. */
  files: "files",
  /** Its fields of text, the better one first. */
  texts: ["text", "title"],
  /** How the name of a cache begins that holds one share; the share's id follows. */
  cache: "clip-wasm-shared ",
  /** What of such a cache is the list of texts. Its files are `file-0`, `file-1`, … */
  list: "list",
  /** The header with a file's name, encoded as in an address. */
  name: "x-name",
  /** The parameter of the page's address with the share's id. */
  id: "shared",
  /** The parameter with the code of what went wrong instead. */
  failure: "share-failed",
};
