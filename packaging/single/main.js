// The page as a single file. It contains the files that the page fetches, and its workers.

import files from "single:files";
import model from "single:model";
import pictures from "single:pictures";
import thumbnails from "single:thumbnails";
import vectors from "single:vectors";
import { workers } from "../../www/lib/client/start-worker.js";
import { THUMBNAIL_WORKER } from "../../www/page/search/thumbnail.js";
import { VECTOR_WORKER } from "../../www/page/search/vectors.js";
import { searchWorkers } from "../../www/page/search/workers.js";
import { embed } from "../../www/page/shell/resources.js";
import { unpack } from "./unpack.js";

const addressOf = (/** @type {string} */ script) => URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
const scripts = { model: addressOf(model), pictures: addressOf(pictures) };
workers.start = (kind, name) => new Worker(scripts[kind], { name });
/** @type {Record<string, string>} */
const searchScripts = { [VECTOR_WORKER]: addressOf(vectors), [THUMBNAIL_WORKER]: addressOf(thumbnails) };
searchWorkers.start = (script, name) => new Worker(String(searchScripts[script]), { name });

await Promise.all(files.map(async ({ path, type, bytes }) => embed(path, URL.createObjectURL(await unpack(bytes, type)))));
await import("../../www/main.js");
