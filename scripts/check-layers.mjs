// `node scripts/check-layers.mjs` fails where a file uses a layer that scripts/layers.json does not allow,
// where files form a circle, where an exception is no longer needed, and where CONTRIBUTING.md does not
// hold the table of today. --write writes that table; --list shows all exceptions and circles.
/** @import { Edge, StatedTable, Table } from "./layers/types.js" */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { withTable } from "./layers/document.mjs";
import { importsOf } from "./layers/imports.mjs";
import { includesOf } from "./layers/includes.mjs";
import { circleReport, judge, mergeEdges, misplaced } from "./layers/rules.mjs";
import { scanSources } from "./layers/sources.mjs";
import { checkTable, sourceFiles } from "./layers/table.mjs";
import { readJson } from "./read-json.mjs";
import { root } from "./setup.mjs";

const SCRIPT = /\.(ts|mts|cts|js|mjs|cjs)$/;

/**
 * Checks the files under `folder` against a table as scripts/layers.json holds it.
 * Returns `problems`, a sentence each, and what was found: `files`, `edges` and the table of checkTable.
 * @param {string} folder
 * @param {StatedTable} stated
 */
export async function checkLayers(folder, stated) {
  const table = checkTable(stated);
  const files = sourceFiles(folder, table);
  const scripts = files.filter((file) => SCRIPT.test(file));
  const native = files.filter((file) => !SCRIPT.test(file));
  const scanned = scripts.filter((file) => table.scanned.some((top) => file.startsWith(`${top}/`)));
  const imports = await importsOf(folder, table.sources, table.skipped);
  const includes = includesOf(folder, native, table);
  const edges = mergeEdges([...imports, ...includes.edges, ...scanSources(folder, scanned)]);
  const problems = [...misplaced(table, files), ...includes.problems, ...judge(table, edges)];
  return { problems, files, edges, table };
}

/**
 * The problem that CONTRIBUTING.md is out of date; corrected where `write` is set.
 * @param {Table} table
 * @param {boolean} write
 */
function checkDocument(table, write) {
  const file = join(root, "CONTRIBUTING.md");
  const text = readFileSync(file, "utf8");
  const wanted = withTable(text, table);
  if (write) writeFileSync(file, wanted);
  if (write || text === wanted) return [];
  return ["CONTRIBUTING.md: its table of layers is out of date; run node scripts/check-layers.mjs --write"];
}

/** @param {{ table: Table, edges: Edge[] }} found */
function list({ table, edges }) {
  const { files, layers } = circleReport(table, edges);
  const exceptions = table.exceptions.map(({ from, to, why }) => `exception: ${from} → ${to} (${why})`);
  const ofFiles = files.map(({ circle, uses, types, byTypesAlone }) => {
    const counts = `${circle.length} files, ${uses} imports, ${types} of them type-only`;
    const kind = byTypesAlone ? "; without types there is none" : "";
    return `circle of ${counts}${kind}: ${circle.join(", ")}`;
  });
  const ofLayers = layers.map((names) => `circle of layers: ${names.join(", ")}`);
  return [...exceptions, ...ofFiles, ...ofLayers];
}

async function main() {
  const { values } = parseArgs({
    options: { write: { type: "boolean", default: false }, list: { type: "boolean", default: false } },
  });
  const stated = /** @type {StatedTable} */ (readJson(join(root, "scripts/layers.json")));
  const found = await checkLayers(root, stated);
  const { files, edges, table } = found;
  const problems = [...found.problems, ...checkDocument(table, values.write)];
  const lines = [...(values.list ? list(found) : []), ...problems.map((problem) => `layers: ${problem}`)];
  for (const line of lines) process.stdout.write(`${line}\n`);
  const counts = `${table.layers.length} layers, ${files.length} files, ${edges.length} uses`;
  process.stdout.write(`${counts}, ${table.exceptions.length} exceptions, ${problems.length} problems\n`);
  process.exitCode = problems.length > 0 ? 1 : 0;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
