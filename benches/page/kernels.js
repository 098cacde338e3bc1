// Times the products of kernels.rs, and the ceiling: the highest rate that their instructions allow.

/** @typedef {[m: number, k: number, n: number]} Shape */

/** @typedef {Record<string, Shape[]>} Groups products that run one after the other, each with its own weights */

/** @typedef {{ ceiling: number[], groups: Record<string, number[]> }} Rates in GOP/s; the same index is the same round */

const MODULE = "../../target/bench/kernels/kernels.js";
/** Numbers of independent sums in the loop that measures the ceiling. */
const CHAINS = [10, 11, 12, 13];
const CEILING_SAMPLES = 5;
const WARM_UP_MILLISECONDS = 500;
/** Long enough for the clock's resolution, but so short that the machine's speed does not change within a round. */
const SAMPLE_MILLISECONDS = 40;

/**
 * @typedef {object} Subject
 * @property {(times: number) => void} run
 * @property {number} operations of one repetition
 * @property {number} times repetitions in a sample
 */

/**
 * @param {Groups} shapes
 * @param {number} rounds
 * @returns {Promise<Rates>}
 */
export async function measureKernels(shapes, rounds) {
  const module = await import(MODULE);
  await module.default();
  const ceiling = findCeiling(module);
  const subjects = Object.entries(shapes).map(([name, shapes]) => {
    const products = shapes.map((shape) => new module.Product(...shape));
    const run = (/** @type {number} */ times) => {
      for (let time = 0; time < times; time++) for (const product of products) product.run(1);
    };
    const operations = shapes.reduce((sum, [m, k, n]) => sum + 2 * m * k * n, 0);
    return { name, subject: warmUp(run, operations) };
  });
  /** @type {Rates} */
  const rates = { ceiling: [], groups: Object.fromEntries(subjects.map(({ name }) => [name, []])) };
  for (let round = 0; round < rounds; round++) {
    rates.ceiling.push(rate(ceiling));
    for (const { name, subject } of subjects) rates.groups[name]?.push(rate(subject));
  }
  return rates;
}

/**
 * The fastest of the loops that run only the products' instructions.
 * @param {any} module
 */
function findCeiling(module) {
  const rated = CHAINS.map((chains) => {
    const run = (/** @type {number} */ steps) => module.ceiling(chains, steps);
    const subject = warmUp(run, module.ceilingOperations(chains));
    return { subject, best: Math.max(...Array.from({ length: CEILING_SAMPLES }, () => rate(subject))) };
  });
  return rated.reduce((highest, other) => (other.best > highest.best ? other : highest)).subject;
}

/**
 * The engine switches to its fastest code only between calls, so the warm-up makes many calls.
 * @param {(times: number) => void} run
 * @param {number} operations
 * @returns {Subject}
 */
function warmUp(run, operations) {
  let times = 1;
  let duration = 0;
  for (const begin = performance.now(); performance.now() - begin < WARM_UP_MILLISECONDS; ) {
    duration = milliseconds(() => run(times));
    if (duration < SAMPLE_MILLISECONDS / 10) times *= 2;
  }
  return { run, operations, times: Math.max(1, Math.round((times * SAMPLE_MILLISECONDS) / duration)) };
}

/** @param {Subject} subject */
function rate({ run, operations, times }) {
  return (operations * times) / milliseconds(() => run(times)) / 1e6;
}

/** @param {() => void} run */
function milliseconds(run) {
  const begin = performance.now();
  run();
  return performance.now() - begin;
}
