// An HTTP proxy for all requests of a browser, so that no request is missed.

import { createServer, request as ask } from "node:http";

/** @import { AddressInfo } from "node:net" */

export class RecordingProxy {
  /** @type {{ method: string, url: string, bytes: number }[]} in the order in which they ended; `bytes` of their bodies */
  requests = [];
  #server = createServer((request, response) => {
    const { method = "", url = "", headers } = request;
    const onward = ask(url, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    let bytes = 0;
    request.on("data", (/** @type {Buffer} */ chunk) => (bytes += chunk.length));
    request.on("end", () => this.requests.push({ method, url, bytes }));
    request.pipe(onward);
  });

  constructor() {
    // A tunnel for TLS or for a WebSocket is not supported: no server here uses one.
    this.#server.on("connect", ({ url = "" }, socket) => {
      this.requests.push({ method: "CONNECT", url, bytes: 0 });
      socket.destroy();
    });
  }

  async start() {
    await new Promise((resolve) => this.#server.listen(0, "127.0.0.1", () => resolve(undefined)));
    return this;
  }

  /** For a browser context. */
  get server() {
    return `http://127.0.0.1:${/** @type {AddressInfo} */ (this.#server.address()).port}`;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
