// One GET whose failures have codes: no answer is `network`, an answer other than 2xx `http_status`
// with the response as its cause.

import { abortedError, ClipError } from "./error.js";
import { platform } from "./platform.js";

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
        "or that server does not let other sites read it (CORS)",
      { cause },
    );
  }
  if (!response.ok) {
    const status = `${response.status} ${response.statusText}`.trim();
    throw new ClipError("http_status", `${url} answered ${status}`, { cause: response });
  }
  return response;
}
