// The API in Node for programs that want no threads: that of node.js, but encoders work where they are called.

import { environment } from "./lib/shared/environment.js";

export * from "./node.js";

environment.worker = false;
