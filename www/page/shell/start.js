// Says why the page does not start. It is a classic script in the JavaScript of 2017, so that it runs even if modules
// are refused, or the browser is too old for them. main.js removes the notice when it has started.

{
  const notice = /** @type {HTMLElement} */ (document.getElementById("not-started"));
  const JAVASCRIPT = /^(text|application)\/(x-)?(java|ecma)script/i;
  /** Files that are named at most: if one file has the wrong type, all have it. */
  const MOST_NAMED = 3;
  let thrown = "";

  notice.hidden = true;
  addEventListener("error", ({ message }) => (thrown = thrown || message || ""));
  // This event comes after all of the page's modules have run, or have been refused.
  addEventListener("load", async () => {
    if (!notice.isConnected) return;
    const [code, text] = await reason();
    if (!notice.isConnected) return;
    const codeElement = document.createElement("code");
    codeElement.textContent = code;
    notice.textContent = `${text} `;
    notice.append(codeElement);
    notice.classList.remove("late");
    notice.setAttribute("role", "alert");
    notice.hidden = false;
  });

  /** @returns {Promise<[code: string, text: string]>} */
  async function reason() {
    if (location.protocol === "file:") {
      return [
        "opened_from_disk",
        "This page was opened from a disk, but browsers load its scripts only from a web server. To start one, run " +
          "“python3 -m http.server” in its folder, then open http://localhost:8000/. Or open clip-wasm.html, the page in one file.",
      ];
    }
    if (thrown) {
      return ["script_failed", `The page does not start: ${thrown}. This browser may be too old for it, or its files may be from two versions: reload the page, or copy all its files to the server again.`];
    }
    if (globalThis.origin === "null") {
      return [
        "sandboxed",
        "The page is in a sandboxed frame, which its host does not allow to load its scripts. Add allow-same-origin to the " +
          "frame's sandbox, or let the host send “Access-Control-Allow-Origin: *”, or open the page outside the frame.",
      ];
    }
    const faults = (await Promise.all(scripts().map(fault))).filter((fault) => fault !== null);
    const listed = faults.slice(0, MOST_NAMED).map((fault) => fault && fault.text).join("; ");
    if (faults.some((fault) => fault && fault.code === "script_type")) {
      return ["script_type", `The page does not start, because its host sends scripts with a type that browsers refuse: ${listed}. Let the host send .js files as text/javascript.`];
    }
    if (faults.length > 0) {
      return ["script_missing", `The page does not start, because some of its scripts are missing: ${listed}. Check that all files of the page are there, and that its address ends in a slash.`];
    }
    return [
      "not_started",
      "The page does not start, although its scripts can be loaded: this browser may be too old for them, or the host's " +
        "Content-Security-Policy forbids them (“script-src 'self'” allows them).",
    ];
  }

  /** The URLs of the modules that the browser has requested. */
  function scripts() {
    const folder = new URL("../../", document.baseURI).href;
    const asked = performance.getEntriesByType("resource").map(({ name }) => name);
    const own = asked.filter((url) => url.startsWith(folder) && /\.js$/.test(url));
    return [...new Set([new URL("main.js", folder).href, ...own])];
  }

  /**
   * @param {string} url
   * @returns {Promise<{ code: string, text: string } | null>}
   */
  async function fault(url) {
    const name = url.replace(/.*\//, "");
    try {
      const response = await fetch(url);
      const type = response.headers.get("content-type");
      if (!response.ok) return { code: "script_missing", text: `${name} has status ${response.status}` };
      if (JAVASCRIPT.test(type || "")) return null;
      // Many hosts answer like this if a file is missing.
      if (/^text\/html/i.test(type || "")) return { code: "script_missing", text: `${name} is a web page` };
      return { code: "script_type", text: type ? `${name} has type ${type}` : `${name} has no type` };
    } catch (error) {
      return { code: "script_missing", text: `${name} cannot be fetched` };
    }
  }
}
