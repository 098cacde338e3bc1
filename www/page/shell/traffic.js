// Counts the page's requests, and the bytes that they send, since it was opened.

import { isEndpoint } from "../../endpoint.js";
import { environment } from "../../lib/shared/environment.js";
import { observeRequests, workerRequests } from "../../lib/shared/requested-urls.js";
import { elementById, newElement } from "./elements.js";

const summary = elementById("traffic-summary", HTMLElement);
const list = elementById("traffic-hosts", HTMLUListElement);
const note = elementById("traffic-note", HTMLElement);

/** Bytes of request bodies. */
let sent = 0;
/** Requests by host, of the page and of its workers, which fetch the models. @type {Map<string, { page: number, workers: number }>} */
const hosts = new Map(location.host ? [[location.host, { page: 1, workers: 0 }]] : []); // the page's own document
/** Hosts that bodies were sent to. @type {Set<string>} */
const receivers = new Set();

/** Starts counting. Requests that were made before are included. */
export function showTraffic() {
  const container = environment.serviceWorkers();
  container?.addEventListener("message", ({ data }) => {
    if (!data?.sent) return;
    sent += data.sent.bytes;
    receivers.add(new URL(data.sent.url).host);
    show();
  });
  container?.startMessages();
  container?.addEventListener("controllerchange", show);
  observeRequests((urls) => count(urls, "page"));
  workerRequests.addEventListener("requests", (event) => {
    count(/** @type {CustomEvent<string[]>} */ (event).detail, "workers");
  });
  note.textContent = aboutCounting(Boolean(container?.controller));
  show();
}

/**
 * @param {string[]} urls
 * @param {"page" | "workers"} by
 */
function count(urls, by) {
  for (const url of urls) {
    if (isEndpoint(url) && environment.serviceWorkers()?.controller) continue; // a page answers it; it is not sent
    const { host } = new URL(url);
    const counts = hosts.get(host) ?? { page: 0, workers: 0 };
    counts[by]++;
    hosts.set(host, counts);
  }
  show();
}

function show() {
  const asked = [...hosts].map(([host, counts], index) => {
    const asked = index === 0 ? requests(counts) : String(counts.page + counts.workers);
    return `${asked} to ${host === location.host ? "this site" : host + purpose(counts)}`;
  });
  const bodies = environment.serviceWorkers()?.controller ? `${bytes(sent)} of yours sent · ` : ""; // without a service worker they are not counted
  summary.textContent = bodies + (asked.join(", ") || "No requests to any site");
  const items = [...hosts].map(([host, counts]) => {
    return newElement("li", {}, `${host}: ${requests(counts)}${receivers.has(host) ? ", with a body that was sent there" : ""}`);
  });
  list.replaceChildren(...items);
}

/** @param {{ page: number, workers: number }} counts */
function requests({ page, workers }) {
  return page + workers === 1 ? "1 request" : `${page + workers} requests`;
}

/** @param {{ page: number, workers: number }} counts of a host that is not the page's own */
function purpose({ page }) {
  return page === 0 ? " for the model" : "";
}

/** @param {number} count */
function bytes(count) {
  return count === 1 ? "1 byte" : `${count.toLocaleString("en")} bytes`;
}

/** @param {boolean} controlled whether the service worker was active before the page was opened */
function aboutCounting(controlled) {
  const requests = "Counted are the requests of the page and its workers since it was opened, including those answered from the browser's cache.";
  const witness = "Bytes sent are the bodies of requests, counted by the page's service worker, which sees all of them";
  return controlled ? `${requests} ${witness}.` : `${requests} ${witness} from the second visit on.`;
}
