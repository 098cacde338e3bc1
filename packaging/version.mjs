// Writes the crate's version into the page, whose reports name it.
//
//   node packaging/version.mjs           writes it
//   node packaging/version.mjs --check   fails if it is out of date

import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { putGenerated, WWW } from "./generated.mjs";

const cargo = readFileSync(resolve(WWW, "../Cargo.toml"), "utf8");
const version = /^version = "(.+)"$/m.exec(cargo)?.[1];
putGenerated(join(WWW, "page/shell/version.js"), `export const VERSION = ${JSON.stringify(version)};\n`);
