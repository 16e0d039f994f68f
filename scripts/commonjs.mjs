// Writes what `require("torchclip…")` gets, beside each entry point of package.json: X.cjs loads the ES
// module, as Node >= 20.19 can, so that `require` and `import` share one instance. Jest's default mode
//          refuses ES modules: there it takes the same code from commonjs.cjs, one CommonJS file for all entry points.
// X.d.cts re-exports the types of X.d.ts. TypeScript before 5.8 refuses an ES module's own declarations in a
// CommonJS file.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { build } from "esbuild";
import ts from "typescript";
import { root } from "./setup.mjs";

const dist = join(root, "dist");
const { exports } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** Entry points without their ending, relative to dist: "index", "eval/index" … */
const entries = Object.values(exports)
  .map((entry) => entry.require?.default)
  .filter(Boolean)
  .map((file) => file.replace(/^\.\/dist\//, "").replace(/\.cjs$/, ""));
const declarations = entries.map((entry) => join(dist, `${entry}.d.ts`));
const program = ts.createProgram(declarations, {
  module: ts.ModuleKind.NodeNext,
  skipLibCheck: true,
  types: ["node"],
  target: ts.ScriptTarget.ES2022,
});
const checker = program.getTypeChecker();

await bundle();
for (const entry of entries) {
  const module = `./${entry.split("/").at(-1)}.js`;
  const commonjs = relative(dirname(join(dist, entry)), join(dist, "commonjs.cjs")).replaceAll("\\", "/");
  writeFileSync(
    join(dist, `${entry}.cjs`),
    loader(entry, module, commonjs.startsWith(".") ? commonjs : `./${commonjs}`),
  );
  writeFileSync(join(dist, `${entry}.d.cts`), types(join(dist, `${entry}.d.ts`), module));
}

/** One CommonJS file that exports each entry point under its name; packages stay outside. */
async function bundle() {
  const source = entries.map((entry, i) => `export * as e${i} from "./${entry}.js";`).join("\n");
  // Each file keeps its own import.meta.url, from which it finds the package's files.
  const metaUrl = {
    name: "import.meta.url",
    setup: ({ onLoad }) =>
      onLoad({ filter: /[\\/]dist[\\/].*\.js$/ }, ({ path }) => {
        const file = JSON.stringify(relative(dist, path));
        return { contents: readFileSync(path, "utf8").replaceAll("import.meta.url", `urlInDist(${file})`) };
      }),
  };
  await build({
    stdin: { contents: source, resolveDir: dist },
    outfile: join(dist, "commonjs.cjs"),
    bundle: true,
    platform: "node",
    target: "node20.19",
    format: "cjs",
    packages: "external",
    banner: {
      js: 'const urlInDist = (file) => require("node:url").pathToFileURL(require("node:path").join(__dirname, file)).href;',
    },
    plugins: [metaUrl],
    logLevel: "warning",
  });
}

function loader(entry, module, commonjs) {
  return `"use strict";
try {
  module.exports = require("${module}");
} catch (error) {
  if (error.code !== "ERR_REQUIRE_ESM") throw error;
  module.exports = require("${commonjs}").e${entries.indexOf(entry)};
}
`;
}

function types(file, module) {
  const from = `from "${module}" with { "resolution-mode": "import" }`;
  const onlyTypes = [];
  const lines = [];
  for (const exported of checker.getExportsOfModule(
    checker.getSymbolAtLocation(program.getSourceFile(file)),
  )) {
    const { name } = exported;
    const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported;
    if (!(symbol.flags & ts.SymbolFlags.Value)) {
      onlyTypes.push(name);
      continue;
    }
    lines.push(`export declare const ${name}: typeof esm.${name};`);
    if (!(symbol.flags & ts.SymbolFlags.Type)) continue;
    if (symbol.declarations.some((d) => d.typeParameters?.length))
      throw new Error(`${name}: a generic class cannot be re-exported to CommonJS`);
    lines.push(`export type ${name} = esm.${name};`);
  }
  return [
    `import type * as esm ${from};`,
    ...(onlyTypes.length ? [`export type { ${onlyTypes.join(", ")} } ${from};`] : []),
    ...lines,
    "",
  ].join("\n");
}
