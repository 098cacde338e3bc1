// One GET whose failures have codes: no answer is `network`, an answer other than 2xx `http_status`
// with the response as its cause.

import { abortedError, ClipError } from "./error.js";
import { platform } from "./platform.js";

/**
 * A JSON file. Rejects with `not_json` where something else comes, as a web page from hosts that know no 404.
 * @param {string} url absolute
 * @returns {Promise<any>}
 */
export async function downloadJson(url) {
  const response = await download(url);
  try {
    return await response.json();
  } catch (cause) {
    const type = response.headers.get("content-type") ?? "without a type";
    throw new ClipError("not_json", `${url} is no JSON (${type}): it is not in its place there`, { cause });
  }
}

/**
 * @param {string} url absolute
 * @param {{ signal?: AbortSignal, headers?: Record<string, string>, cache?: RequestCache }} [options]
 * @returns {Promise<Response>} an answer with status 2xx, its body unread
 */
export async function download(url, { signal, headers, cache } = {}) {
  let response;
  try {
    response = await platform.fetch(url, { signal, headers, cache });
  } catch (cause) {
    if (signal?.aborted) throw abortedError(signal);
    if (cause instanceof ClipError) throw cause;
    throw new ClipError(
      "network",
      `no answer from ${url}: the network is down, the address is wrong, ` +
        "that server does not let other sites read it (CORS), or a Content-Security-Policy forbids it (connect-src)",
      { cause },
    );
  }
  if (!response.ok) {
    const status = `${response.status} ${response.statusText}`.trim();
    throw new ClipError("http_status", `${url} answered ${status}`, { cause: response });
  }
  return response;
}
