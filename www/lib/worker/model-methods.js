// The methods of one model's worker.

import { Session } from "./session.js";

/** @import { ModelMethods } from "../shared/protocol.js" */

/** @returns {ModelMethods} */
export function modelMethods() {
  const session = new Session();
  return {
    load: (params, exchange) => session.load(params, exchange),
    embedText: ({ text, normalize }) => session.embedText(text, normalize),
    embedSquare: ({ pixels, normalize }) => session.embedSquare(pixels, normalize),
    tokenize: ({ texts }) => session.tokenize(texts),
    close: ({ isBroken }) => session.close(isBroken),
  };
}
