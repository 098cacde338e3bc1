/** @type {import("vite").UserConfig} */
export default {
  // Built, the page may lie in any folder of its host.
  base: "./",
  // Where the demo model is; your own go into public/.
  publicDir: "../../www/models",
  // Two lines for the package. Its worker loads one of several builds of its module, so it has several parts, and
  worker: { format: "es" },
  // bundled beforehand, as the development server does with packages, it would not find that worker.
  optimizeDeps: { exclude: ["clip-wasm"] },
};
