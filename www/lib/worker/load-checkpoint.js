// Converts a checkpoint, while its bytes arrive, to the GGUF that is loaded and stored.

import { headerEnd } from "./load-gguf.js";
import { Meter } from "./progress.js";
import { limitsOf, newLoader, requireRoom } from "../engine/module-inputs.js";
import { ClipError } from "../shared/error.js";
import { bytesIn, common, pairs } from "../shared/ranges.js";
import { FileChanged } from "../weights/remote-file.js";

/** @import { ClipEncoder } from "../../pkg/simd128/clip_wasm.js" */
/** @import { Module } from "../engine/start-towers.js" */
/** @import { LimitOptions, Progress, Tower } from "../shared/protocol.js" */
/** @import { LocalCopy } from "../store/local-copy.js" */
/** @import { Checkpoint } from "../weights/checkpoint-files.js" */
/** @import { Header } from "./load-gguf.js" */

/**
 * @typedef {object} ConversionOptions
 * @property {string} type of the weights, such as `q8_0`
 * @property {"gelu" | "quick_gelu" | undefined} activation
 * @property {Tower[] | undefined} towers to convert and load; if undefined, those that the checkpoint has
 * @property {string | undefined} sha256 of the weights, if they are one file
 * @property {LimitOptions} limits
 * @property {boolean} goesOn whether this conversion continues an earlier one, whose output is stored
 * @property {(header: Header) => void} onHeader
 * @property {(progress: Progress) => void} onProgress
 * @property {AbortSignal} signal
 */

/** Milliseconds between two notes of which parts of the GGUF are stored. */
const NOTE_EVERY = 300;

/**
 * Version of the conversion's output. Output of an earlier version is not used: it may describe image preparation
 * wrongly.
 */
export const CONVERSION = 2;

/**
 * The key under which a converted checkpoint is stored.
 * @param {string} url
 * @param {{ type: string, activation?: string }} options
 */
export function checkpointKey(url, { type, activation }) {
  return `${url}#${[type, activation].filter(Boolean).join("-")}`;
}

/**
 * Converts and loads in one pass. Parts that an earlier conversion has stored are not fetched again, nor are towers that
 * are not wanted, unless all bytes are needed for the hash.
 * @param {Module} module
 * @param {Checkpoint} checkpoint
 * @param {LocalCopy} copy of the GGUF
 * @param {ConversionOptions} options
 * @returns {Promise<ClipEncoder>}
 */
export async function loadCheckpoint(module, { files, size, companions }, copy, options) {
  const { type, activation, towers, sha256, limits, goesOn, onHeader, onProgress, signal } = options;
  const all = limitsOf(module.bindings, limits);
  const only = sha256 === undefined ? towers : undefined;
  const converter = new module.bindings.CheckpointConverter(companions, type, all, activation);
  if (only) converter.only(only);
  const loader = newLoader(module, all, towers);
  const meter = new Meter(onProgress);
  const hash = sha256 === undefined ? null : new module.bindings.Sha256();
  const resumed = goesOn ? copy.parts() : [];
  converter.keep(Float64Array.from(resumed));
  meter.total = only ? null : size;
  meter.tell();

  const describe = () => ({
    size: converter.fileSize ?? null,
    conversion: { version: CONVERSION, done: copy.parts(), etags: files.map(({ etag = null }) => etag) },
  });
  let noted = -Infinity;
  let replaces = !goesOn;
  const push = async (/** @type {Uint8Array} */ bytes) => {
    signal.throwIfAborted();
    /** @type {[number, Uint8Array][]} */
    const made = [];
    requireRoom(module.bindings, bytes.length);
    converter.push(bytes, (offset, bytes) => void made.push([offset, bytes]));
    // The old copy is deleted only when there is something new to store.
    if (replaces && made.length > 0) {
      replaces = false;
      await copy.restart();
    }
    for (const [offset, bytes] of made) {
      // The header comes whole. If it differs from the stored one, a file beside the weights has changed.
      if (offset === 0 && !(await isStored(copy, bytes))) throw new FileChanged();
      loader.seek(offset);
      requireRoom(module.bindings, bytes.length);
      loader.push(bytes);
      await copy.write(offset, bytes, describe, () => bytes.length + bytesIn(loader.wanted() ?? []));
    }
    meter.add(bytes.length);
    if (made.length === 0 || performance.now() - noted < NOTE_EVERY) return;
    noted = performance.now();
    await copy.change((about) => ({ ...about, ...describe() }));
  };

  let begun = false;
  for (const file of files) {
    let position = 0;
    while (converter.sourceSize === undefined) {
      // The logit scale can be anywhere in the file, but is needed first.
      const apart = converter.wanted();
      const [from, to] = apart ? [Number(apart[0]), Number(apart[1])] : [position, headerEnd(only, position)];
      if (apart) converter.seek(from);
      const bytes = await file.read(from, to);
      if (!bytes) break;
      if (!apart) {
        hash?.update(bytes);
        position += bytes.length;
      }
      await push(bytes);
    }
    if (!begun && loader.residentSize !== undefined) {
      begun = true;
      onHeader({ weightsSize: loader.residentSize, fileSize: Number(converter.fileSize) });
      for (const [from, to] of pairs(common(loader.wanted() ?? [], resumed))) await giveKept(copy, loader, from, to);
    }
    // The hash needs every byte, up to the end of the file, which can be after the last tensor.
    const wanted = hash ? [position, Infinity] : [...(converter.wanted() ?? [])];
    const left = bytesIn(wanted);
    if (files.length === 1) meter.total = left < Infinity ? meter.loaded + left : (file.size ?? converter.sourceSize ?? null);
    for (const [from, to] of pairs(wanted)) {
      if (position !== from) converter.seek((position = from));
      while (position < to) {
        const bytes = await file.read(position, to);
        if (!bytes) break;
        hash?.update(bytes);
        position += bytes.length;
        await push(bytes);
      }
    }
    converter.endFile();
  }
  const description = describe();
  converter.finish();
  const found = hash?.finish();
  if (found !== sha256) {
    throw new ClipError("corrupt_model", `${files[0]?.name} is damaged: its SHA-256 is ${found} where ${sha256} is expected; load it again`);
  }
  await copy.change((about) => ({ ...about, ...description, sha256: sha256 ?? null }));
  await copy.complete(only);
  return loader.finish();
}

/**
 * @param {LocalCopy} copy
 * @param {Uint8Array} start of the file
 * @returns {Promise<boolean>} whether what is stored there, if anything, is the same
 */
async function isStored(copy, start) {
  const end = Math.min(start.length, copy.keptTo(0));
  for (let position = 0; position < end; ) {
    const bytes = await copy.read(position, end);
    if (!bytes) return true; // the copy has failed, and is given up
    if (!bytes.every((byte, i) => byte === start[position + i])) return false;
    position += bytes.length;
  }
  return true;
}

/**
 * @param {LocalCopy} copy
 * @param {{ seek: (position: number) => void, push: (bytes: Uint8Array) => void }} loader
 * @param {number} from
 * @param {number} to
 */
async function giveKept(copy, loader, from, to) {
  loader.seek(from);
  for (let position = from; position < to; ) {
    const bytes = await copy.read(position, Math.min(to, position + (1 << 20)));
    if (!bytes) throw new ClipError("io", "the stored copy of the model cannot be read; load it again");
    loader.push(bytes);
    position += bytes.length;
  }
}
