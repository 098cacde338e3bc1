/** @type {import("next").NextConfig} */
export default {
  // On the server the package starts threads from its own files, so it must not be bundled there.
  serverExternalPackages: ["clip-wasm"],
};
