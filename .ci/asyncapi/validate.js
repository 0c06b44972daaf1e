// Validates an AsyncAPI document, and everything that it refers to: node validate.js FILE
import { readFile } from "node:fs/promises";
import { Parser } from "@asyncapi/parser";

const file = process.argv[2];
const { document, diagnostics } = await new Parser().parse(await readFile(file, "utf8"), { source: file });
const severities = ["error", "warning", "information", "hint"];
for (const { severity, range, path, message } of diagnostics) {
  console.log(`${file}:${range.start.line + 1} ${severities[severity]} at ${path.join(".")}: ${message}`);
}
// Errors and warnings; the rest is advice.
process.exit(!document || diagnostics.some(({ severity }) => severity <= 1) ? 1 : 0);
