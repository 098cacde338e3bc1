// Fetches and compiles a WebAssembly module.

import { download } from "../shared/download.js";
import { ClipError } from "../shared/error.js";

/**
 * A build of a module: its JavaScript, and the module itself.
 * @template Bindings
 * @typedef {{ bindings: () => Promise<Bindings>, compile: () => Promise<WebAssembly.Module> }} Build
 */

/** The first bytes of every WebAssembly module. By themselves they are a valid, empty module. */
const EMPTY_MODULE = new Uint8Array([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/**
 * @param {URL} url
 * @returns {Promise<WebAssembly.Module>} rejects with `network` or `http_status` if it cannot be fetched, `no_wasm` if
 *   the browser cannot compile any module, and `not_wasm` if the file is not a module
 */
export async function compile(url) {
  await requireWasm();
  const response = await download(url.href);
  const type = response.headers.get("content-type");
  // Only a response with this type can be compiled while it arrives, and not every host sends the type.
  if (type === "application/wasm") return WebAssembly.compileStreaming(response);
  const bytes = await response.arrayBuffer();
  const isWasm = new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength)).every((byte, i) => byte === EMPTY_MODULE[i]);
  if (isWasm && bytes.byteLength > EMPTY_MODULE.length) return WebAssembly.compile(bytes);
  throw new ClipError("not_wasm", `${url} is not a WebAssembly module, but ${type ?? "something without a type"}: put the files of pkg/ there`);
}

async function requireWasm() {
  try {
    await WebAssembly.compile(EMPTY_MODULE);
  } catch (cause) {
    throw new ClipError(
      "no_wasm",
      "the encoder is WebAssembly, which cannot run here: the page's Content-Security-Policy forbids it " +
        "(script-src 'wasm-unsafe-eval' allows it), or this browser has it switched off",
      { cause },
    );
  }
}
