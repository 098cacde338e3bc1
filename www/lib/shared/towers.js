// The towers that a model can have.

/** @import { Tower } from "./protocol.js" */

/** @type {Tower[]} */
export const TOWERS = ["text", "vision"];
