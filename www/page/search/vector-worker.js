// The worker that holds the vectors of the indexed pictures, and searches them.

import { serveWorker } from "../../lib/worker/message-loop.js";
import { VectorMatrix } from "./matrix.js";

/** @import { VectorMethods } from "./vectors.js" */

let matrix = new VectorMatrix(1);

/** @type {VectorMethods} */
const methods = {
  open({ dimension }) {
    matrix = new VectorMatrix(dimension);
  },
  put({ row, vectors }) {
    matrix.put(row, vectors);
  },
  keepOnly({ rows }) {
    matrix.keepOnly(rows);
  },
  vectors({ rows }) {
    return matrix.vectors(rows);
  },
  rank(terms) {
    const start = performance.now();
    return { ...matrix.rank(terms), milliseconds: performance.now() - start };
  },
  duplicates({ least }, { onProgress, signal }) {
    return matrix.duplicates(least, {
      signal,
      onProgress: (share) => onProgress({ loaded: share, total: 1, bytesPerSecond: null, secondsLeft: null }),
    });
  },
};

serveWorker(methods);
