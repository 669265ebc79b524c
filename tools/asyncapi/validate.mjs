// Checks an AsyncAPI document with AsyncAPI's own parser. Prints each problem on a line; exit status 1 when there is one.
import { Parser, fromFile } from "@asyncapi/parser";

const [path] = process.argv.slice(2);
const { document, diagnostics } = await fromFile(new Parser(), path).parse();
// Severity 0 is an error, 1 a warning; the others are advice that does not bear on validity.
const problems = diagnostics.filter(({ severity }) => severity <= 1);
for (const { path: where, message, code } of problems) {
  console.error(`${where.join(".")}: ${message} (${code})`);
}
process.exit(document && problems.length === 0 ? 0 : 1);
