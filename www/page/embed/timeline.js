// Where the time of one input went, as a bar, and the report that a button copies. Nothing is sent anywhere.

import { computedBy, milliseconds, reportOf, stagesOf } from "./report.js";
import { copyText } from "../shell/copy.js";
import { newElement } from "../shell/elements.js";
import { VERSION } from "../shell/version.js";

/** @import { Computing, Timings } from "./report.js" */

/**
 * Shows the timeline of an input in `place`, instead of what is there.
 * @param {HTMLElement} place
 * @param {Timings} timings
 * @param {Computing} encoder
 */
export function showTimeline(place, timings, encoder) {
  const stages = stagesOf(timings);
  // Hidden from screen readers, because the list below says the same.
  const bar = newElement("div", { class: "bar", "aria-hidden": "true" });
  const list = newElement("ol", { class: "stages", role: "list", "aria-label": `Time of this input: ${milliseconds(timings.total)}` });
  for (const { name, milliseconds: time, note } of stages) {
    const part = newElement("span", { class: name });
    part.style.flexGrow = String(time); // the page's policy forbids style attributes, and not this
    bar.append(part);
    list.append(newElement("li", { class: name }, `${name} ${milliseconds(time)}`, ...(note === "" ? [] : [newElement("small", {}, ` ${note}`)])));
  }
  const copy = newElement("button", { type: "button" }, "Copy report");
  copy.addEventListener("click", () => copyReport(copy, reportOf(timings, encoder, surroundings())));
  const computed = newElement("p", { class: "computed" }, `${milliseconds(timings.total)} in all · ${computedBy(encoder)}`);
  place.replaceChildren(newElement("div", { class: "timeline" }, bar, list, computed, copy));
}

function surroundings() {
  const { userAgent, hardwareConcurrency } = navigator;
  return { version: VERSION, date: new Date(), userAgent, hardwareConcurrency, crossOriginIsolated };
}

/**
 * @param {HTMLButtonElement} button
 * @param {string} report
 */
function copyReport(button, report) {
  return copyText(button, report, () => {
    const text = newElement("pre", { tabindex: 0 }, report);
    button.after(text);
    getSelection()?.selectAllChildren(text);
  });
}
