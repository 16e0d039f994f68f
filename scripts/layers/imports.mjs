// What TypeScript and JavaScript import, as dependency-cruiser resolves it.
/** @import { Edge } from "./types.js" */
import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { cruise } from "dependency-cruiser";
import { readPackageJson } from "../read-json.mjs";

/**
 * An edge for each import between files of `folders` (relative to `root`). An import of the package by its
 * own name, or of what was compiled into dist/, counts as one of the source file.
 * @param {string} root
 * @param {string[]} folders
 * @param {string[]} skipped
 * @returns {Promise<Edge[]>}
 */
export async function importsOf(root, folders, skipped) {
  /** @type {import("dependency-cruiser").ICruiseOptions} */
  const options = {
    baseDir: root,
    tsPreCompilationDeps: true, // type-only imports too
    doNotFollow: { path: ["node_modules", "^dist/"] },
    exclude: { path: skipped.map((folder) => `^${folder}/`) },
  };
  const { output } = await cruise(folders, options);
  if (typeof output === "string") throw new Error("dependency-cruiser has formatted its result");
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

/**
 * The file that is meant; one that has not been compiled yet is not found, but its path says enough.
 * @param {string} source
 * @param {import("dependency-cruiser").IDependency} dependency
 * @param {Map<string, string>} exported
 */
function target(source, { module, resolved, couldNotResolve }, exported) {
  if (!couldNotResolve) return resolved;
  if (module.startsWith(".")) return posix.join(posix.dirname(source), module);
  return exported.get(module) ?? module;
}

/**
 * "torchclip/datasets" → "dist/datasets/index.js", as package.json states it.
 * @param {string} root
 * @returns {Map<string, string>}
 */
function exportsOf(root) {
  const file = join(root, "package.json");
  if (!existsSync(file)) return new Map();
  const { name, exports = {} } = readPackageJson(file);
  /** @type {Map<string, string>} */
  const files = new Map();
  for (const [path, conditions] of Object.entries(exports)) {
    if (typeof conditions === "string" || !conditions.import) continue;
    files.set(posix.join(name, path), posix.normalize(conditions.import.default));
  }
  return files;
}

/** @param {string} file */
const sourceOf = (file) => file.replace(/^dist\/(.*)\.js$/, "lib/$1.ts");
/** @type {(folders: string[], file: string) => boolean} */
const within = (folders, file) => folders.some((folder) => file.startsWith(`${folder}/`));
