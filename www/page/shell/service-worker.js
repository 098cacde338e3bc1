// Installs the page's service worker, which makes the page work offline, isolates it, passes requests to the endpoint,
// and counts the bytes that are sent.

import { errorJson } from "../../clip.js";
import { serveEndpoint } from "../../endpoint.js";
import { environment } from "../../lib/shared/environment.js";
import { showOffline } from "./offline.js";
import { isSingleFile } from "./resources.js";
import { showTraffic } from "./traffic.js";

/** @import { ClipEncoder } from "../../clip.js" */

/**
 * From the next visit on, the page needs no network, and is isolated even if its host does not do that: see sw.js.
 * @param {{ encoderAtHand: () => Promise<ClipEncoder | null>, forget: () => void }} model what answers requests to the
 *   endpoint
 */
export async function installServiceWorker(model) {
  showTraffic();
  const container = environment.serviceWorkers();
  if (!container || isSingleFile()) return;
  const forgetLost = (/** @type {unknown} */ error) => {
    if (errorJson(error).error.code === "encoder_lost") model.forget();
  };
  try {
    const serve = () => serveEndpoint(() => model.encoderAtHand(), { onError: forgetLost });
    const register = async () => {
      await container.register(new URL("../../sw.js", import.meta.url));
      showOffline();
    };
    // On later visits, requests are answered while the browser looks for a newer version.
    if (container.controller || (await container.getRegistration())) await Promise.all([register(), serve()]);
    else await register().then(serve);
  } catch (error) {
    console.warn(`without its service worker, the page needs a network at every visit, and may have no threads and no endpoint: ${error}`);
  }
}
