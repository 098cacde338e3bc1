// The workers of the search itself, and how they start.

import { startFrom } from "../../lib/shared/foreign-worker.js";
import { SITE } from "../shell/resources.js";

/** @import { WorkerScript } from "../../lib/client/start-worker.js" */

/** What starts them; a page in a single file starts them in another way. */
export const searchWorkers = {
  /**
   * @param {string} script
   * @param {string} name
   */
  start: (script, name) => startFrom(script, SITE, name),
};

/**
 * @param {string} script its path in the site
 * @param {string} noun what error messages call it
 * @returns {WorkerScript}
 */
export function searchWorker(script, noun) {
  return {
    noun,
    start: (name) => searchWorkers.start(script, name),
    whyNotStarted: () => `it does not start, because the server does not send ${script} as JavaScript, or a Content-Security-Policy forbids it (worker-src 'self' allows it)`,
  };
}
