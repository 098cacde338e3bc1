// The badge that says whether the page works without a network, and whether it does so now.

import { keptModels } from "../../clip.js";
import { elementById } from "./elements.js";

/** @typedef {{ missing: string[], recalled: boolean }} Kept the answer of sw.js: files that are not stored, and whether the page was loaded from stored files */

const badge = elementById("offline", HTMLElement);

const DEMO = new URL("../../models/demo.gguf", import.meta.url).href;
/** If the service worker does not answer within so many milliseconds, nothing counts as stored. */
const PATIENCE = 30_000;

/** Shows the badge, and updates it from then on. The service worker must be registered. */
export async function showOffline() {
  await navigator.serviceWorker.ready;
  await show();
  for (const change of ["online", "offline"]) addEventListener(change, show);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") show();
  });
}

async function show() {
  const { missing, recalled } = await askKept();
  // The demo model is among the page's own files.
  const models = await keptModels().catch(() => []);
  const works = missing.length === 0;
  const offline = !navigator.onLine || (recalled && !(await reaches()));
  const more = models.filter(({ whole, url }) => whole && url !== DEMO).length;
  badge.dataset.state = offline ? "offline" : works ? "works" : "";
  if (offline) badge.textContent = works ? "Offline now" : "Offline now, and not all of the page is kept";
  else badge.textContent = works ? "Works offline" : "";
  const kept = more === 0 ? "the demo model" : `the demo model and ${more} more`;
  badge.title = works ? `The page is kept on this device, and so ${more === 0 ? "is" : "are"} ${kept}.` : "";
}

/** @returns {Promise<Kept>} */
async function askKept() {
  const { active } = await navigator.serviceWorker.ready;
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise((resolve) => {
    port1.onmessage = ({ data }) => resolve(data);
    setTimeout(() => resolve({ missing: ["./"], recalled: false }), PATIENCE);
    active?.postMessage({ method: "kept" }, [port2]);
  });
  return answer.finally(() => port1.close());
}

/** Whether the page's server answers. */
async function reaches() {
  // A HEAD request, which sw.js does not answer from its cache.
  return fetch("manifest.webmanifest", { method: "HEAD", cache: "no-store" }).then(
    () => true,
    () => false,
  );
}
