// The methods of one model's worker.

import { Session } from "./session.js";

/** @import { ModelMethods } from "../shared/protocol.js" */

/** @returns {ModelMethods} */
export function modelMethods() {
  const session = new Session();
  return {
    load: (params, exchange) => session.load(params, exchange),
    embedTexts: ({ texts, normalize }, exchange) => session.embedTexts(texts, normalize, exchange),
    embedSquares: ({ squares, normalize }, exchange) => session.embedSquares(squares, normalize, exchange),
    tokenize: ({ texts }, exchange) => session.tokenize(texts, exchange),
    close: ({ isBroken }) => session.close(isBroken),
  };
}
