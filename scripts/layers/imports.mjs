// What TypeScript and JavaScript import, as dependency-cruiser resolves it.
import { existsSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { cruise } from "dependency-cruiser";

/**
 * `{ from, to, typeOnly }` for each import between files of `folders` (relative to `root`). An import of the
 * package by its own name, or of what was compiled into dist/, counts as one of the source file.
 */
export async function importsOf(root, folders, skipped) {
  const options = {
    baseDir: root,
    tsPreCompilationDeps: true, // type-only imports too
    doNotFollow: { path: ["node_modules", "^dist/"] },
    exclude: { path: skipped.map((folder) => `^${folder}/`) },
  };
  const { output } = await cruise(folders, options);
  const exported = exportsOf(root);
  const edges = output.modules.flatMap(({ source, dependencies }) =>
    dependencies.map((dependency) => ({
      from: source,
      to: sourceOf(target(source, dependency, exported)),
      typeOnly: dependency.dependencyTypes.includes("type-only"),
    })),
  );
  return edges.filter(({ from, to }) => within(folders, from) && within(folders, to));
}

/** The file that is meant; one that has not been compiled yet is not found, but its path says enough. */
function target(source, { module, resolved, couldNotResolve }, exported) {
  if (!couldNotResolve) return resolved;
  if (module.startsWith(".")) return posix.join(posix.dirname(source), module);
  return exported.get(module) ?? module;
}

/** "torchclip/datasets" → "dist/datasets/index.js", as package.json states it. */
function exportsOf(root) {
  const file = join(root, "package.json");
  if (!existsSync(file)) return new Map();
  const { name, exports = {} } = JSON.parse(readFileSync(file, "utf8"));
  const files = Object.entries(exports).filter(([, conditions]) => conditions.import);
  return new Map(
    files.map(([path, conditions]) => [posix.join(name, path), posix.normalize(conditions.import.default)]),
  );
}

const sourceOf = (file) => file.replace(/^dist\/(.*)\.js$/, "lib/$1.ts");
const within = (folders, file) => folders.some((folder) => file.startsWith(`${folder}/`));
