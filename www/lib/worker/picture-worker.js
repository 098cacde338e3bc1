// A worker that reads pictures, and holds no model. If a malicious file crashes it, nothing else is lost.

import { serveWorker } from "./message-loop.js";
import { pictureMethods } from "./picture-methods.js";

serveWorker(pictureMethods());
