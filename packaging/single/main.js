// The page as a single file. It contains the files that the page fetches, and its workers.

import files from "single:files";
import model from "single:model";
import pictures from "single:pictures";
import vectors from "single:vectors";
import { workers } from "../../www/lib/client/start-worker.js";
import { vectorWorker } from "../../www/page/search/vectors.js";
import { embed } from "../../www/page/shell/resources.js";
import { unpack } from "./unpack.js";

const addressOf = (/** @type {string} */ script) => URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
const scripts = { model: addressOf(model), pictures: addressOf(pictures) };
workers.start = (kind, name) => new Worker(scripts[kind], { name });
vectorWorker.start = (name) => new Worker(addressOf(vectors), { name });

await Promise.all(files.map(async ({ path, type, bytes }) => embed(path, URL.createObjectURL(await unpack(bytes, type)))));
await import("../../www/main.js");
