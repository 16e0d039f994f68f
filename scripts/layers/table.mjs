// The table of layers (scripts/layers.json): read, checked, and asked which layer a file belongs to.
/** @import { Layer, StatedException, StatedTable, Table } from "./types.js" */
import { readdirSync } from "node:fs";
import { join } from "node:path";

/** What a layer may use that is no file; sources.mjs and includes.mjs name these in place of a file. */
export const ENVIRONMENT = "the environment";
export const ADDON_FILE = "the .node file";

const SOURCE = /\.(ts|mts|cts|js|mjs|cjs|c|cc|cpp|cu|cuh|h|hpp|inc)$/;

/**
 * The table with "lib/*" written out. Throws where a layer uses one that does not stand above it.
 * @param {StatedTable} table
 * @returns {Table}
 */
export function checkTable(table) {
  /** @type {string[]} */
  const above = [];
  /** @type {(layer: string, names?: string[]) => string[]} */
  const resolved = (layer, names = []) =>
    names.flatMap((name) => {
      if (name.endsWith("/*")) return above.filter((other) => other.startsWith(name.slice(0, -1)));
      if (above.includes(name)) return [name];
      throw new Error(`scripts/layers.json: ${layer} may not use ${name}, which is no layer above it`);
    });
  const layers = table.layers.map(({ name, files = [name], holds, uses, types, external = [] }) => {
    if (above.includes(name)) throw new Error(`scripts/layers.json: ${name} stands twice`);
    const allowed = { uses: resolved(name, uses), types: resolved(name, types) };
    above.push(name);
    return { name, files, holds, external, stated: { uses, types }, ...allowed };
  });
  return { ...table, layers, exceptions: table.exceptions.flatMap(pairs) };
}

/**
 * An exception may name several files that use one: a pair for each.
 * @param {StatedException} exception
 */
const pairs = ({ from, to, why }) => [from].flat().map((file) => ({ from: file, to, why }));

/**
 * The source files under the table's folders, with / between folders.
 * @param {string} root
 * @param {Table} table
 */
export function sourceFiles(root, table) {
  /** @param {string} file */
  const skipped = (file) => table.skipped.some((folder) => file.startsWith(`${folder}/`));
  const paths = table.sources.flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((file) => `${folder}/${file}`),
  );
  const files = paths.map((path) => path.replaceAll("\\", "/"));
  return files.filter((file) => SOURCE.test(file) && !skipped(file)).sort();
}

/**
 * The layer and the place of a file, if a place holds it. A file goes before its folder, a folder before a
 * tree.
 * @param {Pick<Table, "layers">} table
 * @param {string} file
 */
export function placeOf(table, file) {
  const folder = file.slice(0, file.lastIndexOf("/"));
  const trees = ancestors(folder).map((tree) => `${tree}/**`);
  for (const place of [file, folder, ...trees]) {
    const layer = table.layers.find(({ files }) => files.includes(place));
    if (layer) return { layer, place };
  }
  return undefined;
}

/**
 * The layer of a file, if one holds it.
 * @param {Pick<Table, "layers">} table
 * @param {string} file
 * @returns {Layer | undefined}
 */
export function layerOf(table, file) {
  return placeOf(table, file)?.layer;
}

/**
 * Whether a use is of a library, the environment or the addon's file.
 * @param {Pick<Table, "libraries">} table
 * @param {string} to
 */
export function isExternal({ libraries }, to) {
  return to === ENVIRONMENT || to === ADDON_FILE || Object.hasOwn(libraries, to);
}

/**
 * "a/b" and "a" of "a/b".
 * @param {string} folder
 * @returns {string[]}
 */
function ancestors(folder) {
  const cut = folder.lastIndexOf("/");
  return cut < 0 ? [folder] : [folder, ...ancestors(folder.slice(0, cut))];
}
