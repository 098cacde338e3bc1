/** @type {import("webpack").Configuration} */
export default {
  mode: "production",
  entry: "./main.js",
  output: { clean: true },
  // The modules are larger than what webpack warns of; each visitor loads two of the five.
  performance: { hints: false },
};
