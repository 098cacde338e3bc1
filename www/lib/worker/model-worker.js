// The worker that holds a model.

import { serveCalls } from "./message-loop.js";
import { Session } from "./session.js";

/** @import { ModelMethods } from "../shared/protocol.js" */

const session = new Session();

/** @type {ModelMethods} */
const methods = {
  load: (params, exchange) => session.load(params, exchange),
  embedText: ({ text, normalize }) => session.embedText(text, normalize),
  embedSquare: ({ pixels, normalize }) => session.embedSquare(pixels, normalize),
  tokenize: ({ texts }) => session.tokenize(texts),
};

serveCalls(methods);
