// A Chromium without a debugger: a debugger stores the pages' responses, which would be counted as their memory.

import { spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHROMIUM_FLAGS, findChromium, removeProfile } from "./browser.mjs";

/** @import { StaticServer } from "./server.mjs" */

/**
 * Runs a module in an empty page. `await window.tell(something)` in the module gives the result of `onTold`.
 * @param {StaticServer} server whose page it is
 * @param {string} module the source, which can use `window.tell` and `window.gc`
 * @param {(told: any, memory: () => number) => Promise<unknown>} onTold `memory`: bytes that all of the browser's
 *   processes hold
 * @returns {Promise<void>} resolves when the module has called `tell("end")`
 */
export async function runPlain(server, module, onTold) {
  const profile = mkdtempSync(join(tmpdir(), "clip-wasm-plain-"));
  const page = `<!doctype html><link rel=icon href=data:,><script type=module>
    window.tell = async (told) => (await fetch("/told", { method: "POST", body: JSON.stringify(told ?? null) })).json();
    try { ${module} } catch (error) { await tell({ thrown: String(error?.stack ?? error) }); }
    await tell("end");
  </script>`;
  const address = server.answer("/plain.html", (_request, response) => void response.writeHead(200, { "content-type": "text/html" }).end(page));
  try {
    await new Promise((resolve, reject) => {
      const flags = [...CHROMIUM_FLAGS, "--headless=new", "--js-flags=--expose-gc", "--enable-precise-memory-info", `--user-data-dir=${profile}`, "--no-first-run", address];
      const browser = spawn(findChromium(), flags, { stdio: "ignore" });
      browser.on("error", reject);
      browser.on("exit", () => resolve(undefined));
      const end = (/** @type {unknown} */ error) => {
        browser.kill();
        if (error) reject(error);
      };
      server.answer("/told", async (request, response) => {
        let body = "";
        for await (const chunk of request) body += chunk;
        const told = JSON.parse(body);
        try {
          if (told?.thrown) throw new Error(told.thrown);
          if (told === "end") end(null);
          else response.end(JSON.stringify((await onTold(told, () => residentSize(Number(browser.pid)))) ?? null));
        } catch (error) {
          end(error);
        }
      });
    });
  } finally {
    await removeProfile(profile);
  }
}

/**
 * @param {number} root
 * @returns {number} bytes of a process and of all its descendants; shared memory is counted for each
 */
function residentSize(root) {
  /** @type {Map<number, { parent: number, bytes: number }>} */
  const processes = new Map();
  for (const name of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const status = readFileSync(`/proc/${name}/status`, "utf8");
      const field = (/** @type {string} */ key) => Number(new RegExp(`^${key}:\\s*(\\d+)`, "m").exec(status)?.[1] ?? 0);
      processes.set(Number(name), { parent: field("PPid"), bytes: field("VmRSS") * 1024 });
    } catch {
      continue; // the process has ended meanwhile
    }
  }
  /** @type {(process: number) => boolean} */
  const isOurs = (process) => process === root || (processes.has(process) && isOurs(Number(processes.get(process)?.parent)));
  return [...processes].reduce((sum, [process, { bytes }]) => sum + (isOurs(process) ? bytes : 0), 0);
}
