// Says why the page does not start. A script of the old kind and in the language of 2017, so that it runs where
// modules are refused, and where a browser is too old for them. main.js takes the notice away once it has started.

{
  const notice = /** @type {HTMLElement} */ (document.getElementById("not-started"));
  const JAVASCRIPT = /^(text|application)\/(x-)?(java|ecma)script/i;
  /** What is named at most: where one file has the wrong type, all have. */
  const MOST_NAMED = 3;
  let thrown = "";

  notice.hidden = true;
  addEventListener("error", ({ message }) => (thrown = thrown || message || ""));
  // It comes after all of the page's modules have run, or have been refused.
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
        "This page has been opened from a disk, and browsers load its scripts from a web server only. In its folder, " +
          "“python3 -m http.server” is one, at http://localhost:8000/. Or open clip-wasm.html, the page in one file.",
      ];
    }
    if (thrown) {
      return ["script_failed", `The page does not start: ${thrown}. This browser may be too old for it, or its files may be of two versions: reload it, or put all of them in place once more.`];
    }
    if (globalThis.origin === "null") {
      return [
        "sandboxed",
        "The page is in a sandboxed frame, and its host lets no such frame load its scripts. Add allow-same-origin to the " +
          "frame's sandbox, or have the host send “Access-Control-Allow-Origin: *”, or open the page by itself.",
      ];
    }
    const faults = (await Promise.all(scripts().map(fault))).filter((fault) => fault !== null);
    const listed = faults.slice(0, MOST_NAMED).map((fault) => fault && fault.text).join("; ");
    if (faults.some((fault) => fault && fault.code === "script_type")) {
      return ["script_type", `The page does not start, because its host sends scripts as something else, which browsers refuse: ${listed}. Have it send .js files as text/javascript.`];
    }
    if (faults.length > 0) {
      return ["script_missing", `The page does not start, because scripts of it are missing: ${listed}. Put all files of the page in place, and see that its address ends in a slash.`];
    }
    return [
      "not_started",
      "The page does not start, though its scripts have come: this browser may be too old for them, or a " +
        "Content-Security-Policy of the host forbids them (“script-src 'self'” allows them).",
    ];
  }

  /** Addresses of the modules that the browser has asked for. */
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
      if (!response.ok) return { code: "script_missing", text: `${name} is answered with status ${response.status}` };
      if (JAVASCRIPT.test(type || "")) return null;
      // How many a host answers for what it has not got.
      if (/^text\/html/i.test(type || "")) return { code: "script_missing", text: `${name} is answered with a web page` };
      return { code: "script_type", text: type ? `${name} comes as ${type}` : `${name} comes without a type` };
    } catch (error) {
      return { code: "script_missing", text: `${name} does not come` };
    }
  }
}
