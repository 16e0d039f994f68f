// Writes what `require("torchclip…")` gets, beside each entry point of package.json: X.cjs, which loads the ES module, and
// X.d.cts, which re-exports its types. TypeScript before 5.8 refuses an ES module's own declarations in a CommonJS file.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import ts from "typescript";
import { root } from "./setup.mjs";

const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const entries = Object.values(exports)
  .map((entry) => entry.require?.default)
  .filter(Boolean)
  .map((file) => join(root, file.replace(/\.cjs$/, "")));
const declarations = entries.map((entry) => `${entry}.d.ts`);
const program = ts.createProgram(declarations, { module: ts.ModuleKind.NodeNext, skipLibCheck: true, types: ["node"], target: ts.ScriptTarget.ES2022 });
const checker = program.getTypeChecker();
for (const entry of entries) {
  const name = `./${entry.slice(dirname(entry).length + 1)}.js`;
  writeFileSync(`${entry}.d.cts`, declarationsOf(`${entry}.d.ts`, name));
  const helper = relative(dirname(entry), join(root, "dist/util/commonjs.cjs")).replaceAll("\\", "/").replace(/^(?!\.)/, "./");
  writeFileSync(`${entry}.cjs`, `"use strict";\nmodule.exports = require("${helper}").loadModule(require, __filename, "${name}");\n`);
}

function declarationsOf(file, name) {
  const from = `from "${name}" with { "resolution-mode": "import" }`;
  const types = [];
  const lines = [];
  for (const exported of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)))) {
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (!(symbol.flags & ts.SymbolFlags.Value)) {
      types.push(exported.name);
      continue;
    }
    lines.push(`export declare const ${exported.name}: typeof esm.${exported.name};`);
    if (!(symbol.flags & ts.SymbolFlags.Type)) continue;
    const generic = symbol.declarations.some((d) => d.typeParameters?.length);
    if (generic) throw new Error(`${exported.name}: generic classes are not re-exported to CommonJS`);
    lines.push(`export type ${exported.name} = esm.${exported.name};`);
  }
  return [`import type * as esm ${from};`, ...(types.length ? [`export type { ${types.join(", ")} } ${from};`] : []), ...lines, ""].join("\n");
}
