// Tables of pictures and texts.

/**
 * @param {"col" | "row"} scope
 * @param {string} text
 */
export function header(scope, text) {
  const element = document.createElement("th");
  element.scope = scope;
  element.textContent = text;
  element.title = text;
  return element;
}

/**
 * The head of a picture's column.
 * @param {string} name
 * @param {string} [url]
 */
export function pictureHeader(name, url) {
  const element = header("col", name);
  if (!url) return element;
  const thumbnail = document.createElement("img");
  thumbnail.src = url;
  thumbnail.alt = "";
  // A format this browser does not show.
  thumbnail.addEventListener("error", () => thumbnail.remove());
  element.prepend(thumbnail);
  return element;
}

/**
 * A table that scrolls by itself where it is too large, by keyboard too.
 * @param {HTMLTableElement} table
 * @param {string} name for screen readers
 */
export function scrolling(table, name) {
  const scroller = document.createElement("div");
  scroller.className = "table";
  scroller.tabIndex = 0;
  scroller.setAttribute("role", "group");
  scroller.setAttribute("aria-label", name);
  scroller.append(table);
  return scroller;
}
