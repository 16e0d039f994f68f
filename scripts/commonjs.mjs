// Writes what `require("torchclip…")` gets, beside each entry point of package.json: X.cjs loads the ES
// module, as Node >= 20.19 can, so that `require` and `import` share one instance. Jest's default mode
// refuses ES modules: there X.cjs takes the same code from commonjs.cjs, one CommonJS file for all entry
// points. X.d.cts re-exports the types of X.d.ts. TypeScript before 5.8 refuses an ES module's own
// declarations in a CommonJS file.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import ts from "typescript";
import { readPackageJson } from "./read-json.mjs";
import { root } from "./setup.mjs";

const dist = join(root, "dist");

/** Entry points without their ending, relative to dist: "index", "eval/index" … */
function entryPoints() {
  const { exports = {} } = readPackageJson(join(root, "package.json"));
  const files = Object.values(exports).flatMap((entry) =>
    typeof entry === "string" || !entry.require ? [] : [entry.require.default],
  );
  return files.map((file) => file.replace(/^\.\/dist\//, "").replace(/\.cjs$/, ""));
}

/**
 * Keeps each file's own import.meta.url in the bundle, from which it finds the package's files. Nothing is
 * resolved as an ES module there.
 * @type {import("esbuild").Plugin}
 */
const metaUrl = {
  name: "import.meta.url",
  setup: (bundler) => {
    bundler.onLoad({ filter: /[\\/]dist[\\/].*\.js$/ }, ({ path }) => {
      const file = JSON.stringify(relative(dist, path));
      const source = readFileSync(path, "utf8").replaceAll("import.meta.resolve", "undefined");
      return { contents: source.replaceAll("import.meta.url", `urlInDist(${file})`) };
    });
  },
};
const URL_IN_DIST =
  "const urlInDist = (file) => " +
  'require("node:url").pathToFileURL(require("node:path").join(__dirname, file)).href;';

/**
 * One CommonJS file that exports each entry point under its number, and evaluates it when it is first asked
 * for: an integration needs a package that may not be installed. Packages stay outside.
 * @param {string[]} entries
 */
async function bundle(entries) {
  const getters = entries.map((entry, i) => `get e${i}() { return require("./${entry}.js"); }`);
  const source = `module.exports = { ${getters.join(", ")} };`;
  await build({
    stdin: { contents: source, resolveDir: dist },
    outfile: join(dist, "commonjs.cjs"),
    bundle: true,
    platform: "node",
    target: "node20.19",
    format: "cjs",
    supported: { "dynamic-import": false }, // Jest's default mode refuses import() too
    packages: "external",
    banner: { js: URL_IN_DIST },
    plugins: [metaUrl],
    logLevel: "warning",
  });
}

/**
 * @param {string} entry
 * @param {number} number under which the bundle exports it
 */
function loader(entry, number) {
  const bundled = relative(dirname(join(dist, entry)), join(dist, "commonjs.cjs")).replaceAll("\\", "/");
  return `"use strict";
try {
  module.exports = require("${moduleOf(entry)}");
} catch (error) {
  if (error.code !== "ERR_REQUIRE_ESM") throw error;
  module.exports = require("${bundled.startsWith(".") ? bundled : `./${bundled}`}").e${number};
}
`;
}

/**
 * The ES module beside the files that are written for an entry.
 * @param {string} entry
 */
const moduleOf = (entry) => `./${entry.slice(entry.lastIndexOf("/") + 1)}.js`;

/**
 * X.d.cts of an entry.
 * @param {string} entry
 * @param {ts.Program} program
 */
function declarations(entry, program) {
  const from = `from "${moduleOf(entry)}" with { "resolution-mode": "import" }`;
  /** @type {string[]} */
  const onlyTypes = [];
  /** @type {string[]} */
  const lines = [];
  for (const { name, symbol } of exportsOf(join(dist, `${entry}.d.ts`), program)) {
    if (!(symbol.flags & ts.SymbolFlags.Value)) {
      onlyTypes.push(name);
      continue;
    }
    lines.push(`export declare const ${name}: typeof esm.${name};`);
    if (!(symbol.flags & ts.SymbolFlags.Type)) continue;
    if (isGeneric(symbol)) throw new Error(`${name}: a generic class cannot be re-exported to CommonJS`);
    lines.push(`export type ${name} = esm.${name};`);
  }
  const typeExport = onlyTypes.length ? [`export type { ${onlyTypes.join(", ")} } ${from};`] : [];
  return [`import type * as esm ${from};`, ...typeExport, ...lines, ""].join("\n");
}

/**
 * What a file exports: each name, and the symbol that is meant by it.
 * @param {string} file
 * @param {ts.Program} program
 */
function exportsOf(file, program) {
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(file);
  const module = source && checker.getSymbolAtLocation(source);
  if (!module) throw new Error(`${file} is no module`);
  return checker.getExportsOfModule(module).map((exported) => ({
    name: exported.name,
    symbol: exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported,
  }));
}

/** @param {ts.Symbol} symbol */
function isGeneric({ declarations = [] }) {
  return declarations.some(
    (node) =>
      (ts.isClassLike(node) || ts.isInterfaceDeclaration(node)) && (node.typeParameters?.length ?? 0) > 0,
  );
}

const entries = entryPoints();
await bundle(entries);
const program = ts.createProgram(
  entries.map((entry) => join(dist, `${entry}.d.ts`)),
  { module: ts.ModuleKind.NodeNext, skipLibCheck: true, types: ["node"], target: ts.ScriptTarget.ES2022 },
);
for (const [number, entry] of entries.entries()) {
  writeFileSync(join(dist, `${entry}.cjs`), loader(entry, number));
  writeFileSync(join(dist, `${entry}.d.cts`), declarations(entry, program));
}
