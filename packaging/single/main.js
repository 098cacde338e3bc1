// The page as a single file: what it would fetch is in it, its worker too.

import files from "single:files";
import worker from "single:worker";
import { WorkerConnection } from "../../www/lib/client/worker-connection.js";
import { embed } from "../../www/page/shell/resources.js";
import { unpack } from "./unpack.js";

const workerAddress = URL.createObjectURL(new Blob([worker], { type: "text/javascript" }));
WorkerConnection.start = (name) => new Worker(workerAddress, { name });

await Promise.all(files.map(async ({ path, type, bytes }) => embed(path, URL.createObjectURL(await unpack(bytes, type)))));
await import("../../www/main.js");
