// A grid of thousands of items, of which only those are in the document that are near the window. It scrolls with the
// page. By keyboard, one item can be reached with Tab, and the others from it with the arrow keys.

import { newElement } from "../shell/elements.js";

/** Pixels: the least width of an item, the gap between two, and the height of what stands below an item's square. */
const LEAST_WIDTH = 128;
const LEAST_COLUMNS = 2;
const GAP = 14;
const TEXT_HEIGHT = 54;
const TITLE_HEIGHT = 40;

/**
 * Items that stand together.
 * @typedef {object} Section
 * @property {string} title empty for none
 * @property {number} first index of an item
 * @property {number} count
 */

/** @typedef {Section & { top: number, rows: number }} Placed a section with its place, in pixels, and its lines */

/** @typedef {{ element: HTMLLIElement, open: HTMLButtonElement }} Item `open`: its button, for the keyboard */

export class Grid {
  #list;
  #makeItem;
  /** @type {Section[]} */
  #sections = [];
  /** @type {Placed[]} */
  #placed = [];
  #count = 0;
  #columns = 1;
  #width = 0;
  /** @type {Map<number, Item>} those in the document, by index */
  #items = new Map();
  /** @type {Map<number, HTMLLIElement>} titles in the document, by section */
  #titles = new Map();
  /** The item that Tab reaches. */
  #current = 0;
  #isScheduled = false;

  /**
   * @param {HTMLOListElement} list
   * @param {(index: number) => Item} makeItem
   */
  constructor(list, makeItem) {
    this.#list = list;
    this.#makeItem = makeItem;
    new ResizeObserver(() => this.#layOut()).observe(list);
    for (const event of ["scroll", "resize"]) addEventListener(event, () => this.#schedule(), { passive: true });
    list.addEventListener("keydown", (event) => this.#move(event));
    list.addEventListener("focusin", ({ target }) => this.#follow(target));
  }

  /** @param {Section[]} sections */
  show(sections) {
    this.clear();
    this.#sections = sections;
    this.#count = sections.reduce((sum, { count }) => sum + count, 0);
    this.#layOut();
  }

  clear() {
    this.#sections = [];
    this.#count = this.#current = 0;
    this.#layOut();
  }

  /** @param {number} index of an item, which is scrolled to if it is not in the window */
  focus(index) {
    const { top, height } = this.#placeOf(index);
    const start = this.#list.getBoundingClientRect().top + top;
    if (start < 0) scrollBy({ top: start - GAP, behavior: "instant" });
    else if (start + height > innerHeight) scrollBy({ top: start + height - innerHeight + GAP, behavior: "instant" });
    this.#setCurrent(index);
    this.#render();
    this.#items.get(index)?.open.focus({ preventScroll: true });
  }

  /** Places the sections. Their height depends on the width of the list. */
  #layOut() {
    const hadFocus = this.#list.contains(document.activeElement);
    this.#forget(() => true);
    this.#placed = [];
    const width = this.#list.clientWidth;
    if (width === 0) return; // it is hidden; when it is shown, it has a new size
    this.#columns = Math.max(LEAST_COLUMNS, Math.floor((width + GAP) / (LEAST_WIDTH + GAP)));
    this.#width = (width + GAP) / this.#columns - GAP;
    let top = 0;
    this.#placed = this.#sections.map((section) => {
      const placed = { ...section, top, rows: Math.ceil(section.count / this.#columns) };
      top += (section.title ? TITLE_HEIGHT : 0) + placed.rows * this.#pitch();
      return placed;
    });
    this.#list.style.height = `${Math.max(0, top - (top > 0 ? GAP : 0))}px`;
    this.#render();
    if (hadFocus && this.#count > 0) this.focus(this.#current);
  }

  /** Pixels from one line to the next. */
  #pitch() {
    return this.#width + TEXT_HEIGHT + GAP;
  }

  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    requestAnimationFrame(() => {
      this.#isScheduled = false;
      this.#render();
    });
  }

  /** Puts into the document what is at most a window's height away, and removes the rest. */
  #render() {
    const { top: start } = this.#list.getBoundingClientRect();
    const [from, to] = [-start - innerHeight, -start + 2 * innerHeight];
    /** @type {Set<number>} */
    const items = new Set();
    /** @type {Set<number>} */
    const titles = new Set();
    for (const [index, { title, first, count, top, rows }] of this.#placed.entries()) {
      const body = top + (title ? TITLE_HEIGHT : 0);
      if (body + rows * this.#pitch() < from) continue;
      if (top > to) break;
      if (title && body > from) titles.add(index);
      const line = Math.max(0, Math.floor((from - body) / this.#pitch()));
      const end = Math.min(rows, Math.ceil((to - body) / this.#pitch()));
      for (let item = line * this.#columns; item < Math.min(count, end * this.#columns); item++) items.add(first + item);
    }
    const focused = this.#items.get(this.#current);
    if (focused?.element.contains(document.activeElement)) items.add(this.#current); // or the keyboard would lose its place
    this.#forget((index) => !items.has(index), (section) => !titles.has(section));
    for (const section of titles) if (!this.#titles.has(section)) this.#addTitle(section);
    for (const index of [...items].sort((a, b) => a - b)) if (!this.#items.has(index)) this.#add(index);
  }

  /**
   * @param {(index: number) => boolean} isItemGone
   * @param {(section: number) => boolean} [isTitleGone]
   */
  #forget(isItemGone, isTitleGone = isItemGone) {
    for (const [index, item] of this.#items) {
      if (!isItemGone(index)) continue;
      item.element.remove();
      this.#items.delete(index);
    }
    for (const [section, element] of this.#titles) {
      if (!isTitleGone(section)) continue;
      element.remove();
      this.#titles.delete(section);
    }
  }

  /** @param {number} index */
  #add(index) {
    const item = this.#makeItem(index);
    const { element } = item;
    const { top, left } = this.#placeOf(index);
    Object.assign(element.style, { top: `${top}px`, left: `${left}px`, width: `${this.#width}px` });
    element.setAttribute("aria-setsize", String(this.#count));
    element.setAttribute("aria-posinset", String(index + 1));
    element.dataset.index = String(index);
    this.#items.set(index, item);
    this.#letTab(index);
    this.#insert(element, top, left);
  }

  /** @param {number} section */
  #addTitle(section) {
    const { title = "", top = 0 } = this.#placed[section] ?? {};
    const element = newElement("li", { class: "grid-title" }, newElement("h3", {}, title));
    element.style.top = `${top}px`;
    this.#titles.set(section, element);
    this.#insert(element, top, 0);
  }

  /**
   * Screen readers read in the document's order.
   * @param {HTMLLIElement} element
   * @param {number} top
   * @param {number} left
   */
  #insert(element, top, left) {
    const isAfter = (/** @type {Element} */ other) => {
      const { style } = /** @type {HTMLElement} */ (other);
      const otherTop = Number.parseFloat(style.top);
      return otherTop > top || (otherTop === top && Number.parseFloat(style.left || "0") > left);
    };
    let before = null;
    for (let other = this.#list.lastElementChild; other && isAfter(other); other = other.previousElementSibling) before = other;
    this.#list.insertBefore(element, before);
  }

  /** @param {number} index @returns {{ top: number, left: number, height: number }} pixels within the list */
  #placeOf(index) {
    const { title = "", first = 0, top = 0 } = this.#sectionOf(index) ?? {};
    const line = Math.floor((index - first) / this.#columns);
    const column = (index - first) % this.#columns;
    return { top: top + (title ? TITLE_HEIGHT : 0) + line * this.#pitch(), left: column * (this.#width + GAP), height: this.#width + TEXT_HEIGHT };
  }

  /** @param {number} index */
  #sectionOf(index) {
    return this.#placed.findLast(({ first }) => first <= index);
  }

  /** @param {number} index */
  #setCurrent(index) {
    const before = this.#current;
    this.#current = index;
    this.#letTab(before);
    this.#letTab(index);
  }

  /** Lets Tab reach the buttons of the current item only: nobody wants to press it ten thousand times. @param {number} index */
  #letTab(index) {
    for (const button of this.#items.get(index)?.element.querySelectorAll("button") ?? []) button.tabIndex = index === this.#current ? 0 : -1;
  }

  /** @param {EventTarget | null} target that has the focus */
  #follow(target) {
    const item = target instanceof HTMLElement ? target.closest("li") : null;
    if (item?.dataset.index) this.#setCurrent(Number(item.dataset.index));
  }

  /** @param {KeyboardEvent} event */
  #move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = this.#target(event.key);
    if (to === null) return;
    event.preventDefault();
    this.focus(Math.min(Math.max(to, 0), this.#count - 1));
  }

  /** @param {string} key @returns {number | null} the item that a key leads to */
  #target(key) {
    const lines = Math.max(1, Math.floor(innerHeight / this.#pitch()));
    switch (key) {
      case "ArrowLeft": return this.#current - 1;
      case "ArrowRight": return this.#current + 1;
      case "ArrowUp": return this.#lineAway(-1);
      case "ArrowDown": return this.#lineAway(1);
      case "PageUp": return this.#lineAway(-lines);
      case "PageDown": return this.#lineAway(lines);
      case "Home": return 0;
      case "End": return this.#count - 1;
      default: return null;
    }
  }

  /** @param {number} lines @returns {number} the item in the same column, that many lines below */
  #lineAway(lines) {
    let index = this.#current;
    for (let step = 0; step < Math.abs(lines); step++) {
      const own = this.#sectionOf(index);
      if (!own) return index;
      const column = (index - own.first) % this.#columns;
      const next = index + Math.sign(lines) * this.#columns;
      if (next >= own.first && next < own.first + own.count) index = next;
      else if (lines > 0 && next - column < own.first + own.count) index = own.first + own.count - 1; // the last line is short
      else {
        const other = this.#placed[this.#placed.indexOf(own) + Math.sign(lines)];
        if (!other) return index;
        const start = lines > 0 ? other.first : other.first + (other.rows - 1) * this.#columns;
        index = Math.min(start + column, other.first + other.count - 1);
      }
    }
    return index;
  }
}
