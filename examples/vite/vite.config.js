/** @type {import("vite").UserConfig} */
export default {
  // So that the built page works in any folder of its host.
  base: "./",
  // The folder of the demo model; put your own models in public/.
  publicDir: "../../www/models",
  // The package needs these two lines. Its worker imports one of several builds of the module, so it is split into
  // several files, which only the format "es" allows.
  worker: { format: "es" },
  // The development server bundles packages in advance; this one would then not find its worker.
  optimizeDeps: { exclude: ["clip-wasm"] },
};
