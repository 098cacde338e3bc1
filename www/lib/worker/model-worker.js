// The worker that holds a model.

import { serveWorker } from "./message-loop.js";
import { modelMethods } from "./model-methods.js";

serveWorker(modelMethods());
