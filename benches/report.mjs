// Writes the tables, in Markdown.

import { median } from "../tests/browser/support/vectors.mjs";
import { CONTESTANTS } from "./cases.mjs";

/** @import { Cosines } from "./accuracy.mjs" */
/** @import { Downloads } from "./downloads.mjs" */
/** @import { GpuReport } from "./gpu.mjs" */
/** @import { Peak } from "./memory.mjs" */
/** @import { Visit, Visits } from "./opening.mjs" */
/** @import { Name } from "./page/contestants.js" */
/** @import { Rates } from "./page/kernels.js" */
/** @import { Times } from "./timing.mjs" */

/**
 * Raw numbers of a run. Parts that were not selected are absent.
 * @typedef {object} Results
 * @property {Record<string, string>} machine
 * @property {number} rounds
 * @property {Record<string, Record<string, Times>>} setups by setup and case
 * @property {Record<string, Visits>} visits by the towers that were opened
 * @property {Partial<Record<Name, Downloads>>} [downloads]
 * @property {{ page: number, contestants: Partial<Record<Name, Peak>> }} [memory]
 * @property {Partial<Record<Name, Cosines>>} [accuracy]
 * @property {Rates} [kernels]
 * @property {GpuReport} [gpu]
 */

const OURS = "clip-wasm";
const PEERS = CONTESTANTS.filter((name) => name !== OURS);
const MEGABYTE = 1e6;
/** How a GPU multiplies int8. @type {Record<string, string>} */
const PRODUCTS = { Dot: "dot products of bytes", Float: "as f32" };

/**
 * @param {Results} results
 * @returns {string}
 */
export function renderReport(results) {
  const { machine, setups, visits, downloads, memory, accuracy, kernels, gpu } = results;
  const sections = [
    ["# Benchmarks", table(["", ""], Object.entries(machine))],
    ...Object.entries(setups).map(([name, cases]) => [`## Milliseconds per call: ${name}`, timesTable(cases)]),
    ...Object.entries(visits).map(([name, found]) => [`## Second visit, ${name}: milliseconds`, visitsTable(found)]),
    downloads && ["## Downloaded by a first visit, megabytes", downloadsTable(downloads)],
    memory && ["## Peak memory of the page's process, megabytes", memoryTable(memory)],
    accuracy && ["## Cosine to transformers in f32: least / median", accuracyTable(accuracy)],
    kernels && ["## int8 matrix products alone, 1 thread", kernelsTable(kernels)],
    gpu && [`## The towers on a GPU: ${gpu.adapter}, natively`, gpuTable(gpu)],
    ["## Notes", notes(results.rounds)],
  ];
  return sections.flatMap((section) => section || []).join("\n\n") + "\n";
}

/** @param {Record<string, Times>} cases */
function timesTable(cases) {
  const rows = Object.entries(cases).map(([name, times]) => {
    const ours = times[OURS] ?? [];
    const cells = CONTESTANTS.map((contestant) => spread(times[contestant]));
    const ratios = PEERS.map((peer) => ratio(times[peer], ours));
    return [name, ...cells, ...ratios];
  });
  return table(["median [best]", ...CONTESTANTS, ...PEERS.map((peer) => `${peer} / ours`)], rows);
}

/** @param {Visits} visits */
function visitsTable(visits) {
  const total = (/** @type {Visit} */ { open, first }) => open + first;
  const ours = visits[OURS]?.again.map(total) ?? [];
  const rows = CONTESTANTS.map((name) => {
    const again = visits[name]?.again ?? [];
    const reloaded = again.map(({ loaded }) => Object.values(loaded).reduce((sum, bytes) => sum + bytes, 0));
    return [
      name,
      spread(again.map(({ open }) => open)),
      spread(again.map(({ first }) => first)),
      spread(again.map(total)),
      spread(again.map(({ warm }) => warm)),
      name === OURS ? "" : ratio(again.map(total), ours),
      megabytes(median(reloaded)),
    ];
  });
  const header = ["median [best]", "open", "first call", "total", "a later call", "total / ours", "downloaded again, MB"];
  return table(header, rows);
}

/** @param {Partial<Record<Name, Downloads>>} downloads */
function downloadsTable(downloads) {
  const size = (/** @type {{ bytes: number, gzipped: number } | undefined} */ size) =>
    size ? `${megabytes(size.bytes)} (${megabytes(size.gzipped)})` : "";
  const rows = CONTESTANTS.map((name) => {
    const found = downloads[name];
    return [name, size(found?.wasm), size(found?.script), found ? megabytes(found.model) : ""];
  });
  return table(["", "wasm (gzipped)", "JavaScript (gzipped)", "model"], rows);
}

/** @param {{ page: number, contestants: Partial<Record<Name, Peak>> }} memory */
function memoryTable({ page, contestants }) {
  const ours = contestants[OURS]?.used ?? NaN;
  const rows = CONTESTANTS.map((name) => {
    const { loaded, used } = contestants[name] ?? { loaded: NaN, used: NaN };
    return [name, megabytes(loaded), megabytes(used), name === OURS ? "" : (used / ours).toFixed(2)];
  });
  return table(["", "both towers open", "after a run", "/ ours"], [["an empty page", megabytes(page), "", ""], ...rows]);
}

/** @param {Partial<Record<Name, Cosines>>} accuracy */
function accuracyTable(accuracy) {
  const cell = (/** @type {number[]} */ cosines) => `${Math.min(...cosines).toFixed(5)} / ${median(cosines).toFixed(5)}`;
  const rows = CONTESTANTS.flatMap((name) => {
    const cosines = accuracy[name];
    return cosines ? [[name, cell(cosines.image), cell(cosines.text)]] : [];
  });
  return table(["", "eight photos", "their captions"], rows);
}

/** @param {Rates} rates */
function kernelsTable({ ceiling, groups }) {
  const share = (/** @type {number[]} */ rates) =>
    `${(100 * median(rates.map((rate, round) => rate / (ceiling[round] ?? NaN)))).toFixed(0)} %`;
  const best = (/** @type {number[]} */ rates) => `${number(median(rates))} [${number(Math.max(...rates))}]`;
  const rows = Object.entries(groups).map(([name, rates]) => [name, best(rates), share(rates)]);
  const header = ["rows x inputs x outputs", "GOP/s, median [best]", "of the ceiling"];
  return table(header, [["ceiling: `i32x4_dot_i16x8` and an addition, in registers", best(ceiling), ""], ...rows]);
}

/** @param {GpuReport} gpu */
function gpuTable({ rows }) {
  const cells = rows.map(({ product, inputs, dispatches, weightBytes, bufferBytes, multiplyAdds, milliseconds }) => [
    `${inputs}, ${PRODUCTS[product]}`,
    String(dispatches),
    megabytes(weightBytes),
    megabytes(bufferBytes),
    number(multiplyAdds / 1e9),
    spread(milliseconds),
    number((2 * multiplyAdds) / median(milliseconds) / 1e6),
  ]);
  return table(["", "dispatches", "weights, MB", "buffers, MB", "multiply-adds, 10^9", "ms, median [best]", "GOP/s"], cells);
}

/** @param {number} rounds */
function notes(rounds) {
  return [
    `- All in the same browser. After warming up, each case has ${rounds} rounds (a third of that if a call takes`,
    "  seconds), and in each round every library has one call, in turn. A ratio is the median of the rounds' ratios;",
    "  above 1, clip-wasm is faster. Every library runs in a worker. Times are taken on the page, from call to result.",
    "- Towers alone: the other libraries get normalised pixels or token ids. clip-wasm has no such call, so it gets",
    "  224 x 224 bitmaps or strings, and its times include decoding and normalising, or tokenizing.",
    "- A batch is one call. The other libraries pad its texts to the longest one, as transformers.js does.",
    "- SigLIP 2: every library pads its texts to 64 tokens, as the model was trained.",
    "- Defaults: no number of threads is set. onnxruntime-web then uses half the cores on an isolated page, and one",
    "  thread otherwise. clip-wasm uses all cores, up to eight, and isolates its page itself from the second visit on.",
    "- Second visit: from importing the library to the first vector of an image, in a new page of a browser that has",
    "  been there before, on a plain static host that allows an hour of caching. The input is the JPEG; onnxruntime-web",
    "  gets ready pixels. The other libraries have one file per tower; clip-wasm reads one tower from its kept file,",
    "  which has both. What was downloaded again came from the same machine; over a network it would take longer.",
    "- Memory: VmHWM of the renderer process, a new browser for each, plain static host, defaults.",
    "- Cosines: onnxruntime-web gets Pillow's pixels, so only its 8-bit arithmetic makes a difference. transformers.js",
    "  decodes and resizes by itself, as clip-wasm does.",
    "- Products alone: in the rows with one shape, its weights stay in the cache from one run to the next; in the rows",
    "  with all products of a tower they do not. The activations are quantised beforehand.",
    "- On a GPU: a batch is one submission of so many dispatches. Weights are read at least once from the GPU's memory,",
    "  buffers are what the batch is computed in. llvmpipe is Mesa's GPU on the processor: its times say nothing of",
    "  a GPU, only how one product compares with the other. With WebGPU, the other libraries' models are in f32.",
  ].join("\n");
}

/**
 * @param {number[] | undefined} times
 * @returns {string}
 */
function spread(times) {
  return times ? `${number(median(times))} [${number(Math.min(...times))}]` : "";
}

/**
 * @param {number[] | undefined} peer
 * @param {number[]} ours
 */
function ratio(peer, ours) {
  return peer ? median(peer.map((time, round) => time / (ours[round] ?? NaN))).toFixed(2) : "";
}

/**
 * A number with three significant digits.
 * @param {number} value
 */
function number(value) {
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

/** @param {number} bytes */
function megabytes(bytes) {
  return number(bytes / MEGABYTE);
}

/**
 * @param {string[]} header
 * @param {string[][]} rows
 */
function table(header, rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(" | ")} |`;
  const rule = header.map((_, column) => (column === 0 ? "---" : "---:"));
  return [line(header), line(rule), ...rows.map(line)].join("\n");
}
