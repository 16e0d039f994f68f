// What an installation downloads: the tarballs of the packages in its node_modules.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { readJson } from "../../read-json.mjs";
import { root } from "../../setup.mjs";

/** Bytes of `torchclip` with its platform package, without tiny.pt and with it. */
const MOST_WITHOUT_TINY = 5e6;
const MOST_WITH_TINY = 15e6;
const TINY = join(root, "models/tiny.pt");

/** @typedef {Record<string, string>} Ranges versions by package */
/** @typedef {{ resolved?: string, dependencies?: Ranges, optionalDependencies?: Ranges }} Locked */
/** @typedef {{ name: string, bytes: number, dependencies: string[] }} Download */

/**
 * Compares the sizes with the goals, and writes build-package/downloads.md: a row for each package.
 * @param {string} app a folder with package-lock.json and node_modules
 * @param {string} storage the registry's folder with the tarballs
 */
export function downloads(app, storage) {
  const all = installed(app, storage);
  const own = all.filter(({ name }) => /^(torchclip$|@torchclip\/)/.test(name));
  const bytes = sum(own);
  const tiny = gzipSync(readFileSync(TINY), { level: 9 }).length;
  writeFileSync(join(root, "build-package/downloads.md"), table(all));
  const small = `${megabytes(bytes)} (${megabytes(bytes - tiny)} without tiny.pt)`;
  const text = `${all.length} packages, ${megabytes(sum(all))}; torchclip and its platform package ${small}`;
  if (bytes > MOST_WITH_TINY || bytes - tiny > MOST_WITHOUT_TINY) throw new Error(`too large: ${text}`);
  return text;
}

/**
 * @param {string} app
 * @param {string} storage
 * @returns {Download[]}
 */
function installed(app, storage) {
  const lock = /** @type {{ packages: Record<string, Locked> }} */ (readJson(join(app, "package-lock.json")));
  return Object.entries(lock.packages)
    .filter(([path, { resolved }]) => resolved && existsSync(join(app, path)))
    .map(([path, { resolved = "", dependencies, optionalDependencies }]) => {
      const name = path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length);
      const tarball = join(storage, name, basename(new URL(resolved).pathname));
      const needed = Object.keys({ ...dependencies, ...optionalDependencies });
      return { name, bytes: statSync(tarball).size, dependencies: needed };
    });
}

/**
 * The direct dependencies of torchclip, each with what it needs itself; what two of them need counts for both.
 * @param {readonly Download[]} all
 */
function table(all) {
  const byName = new Map(all.map((one) => [one.name, one]));
  const rows = (byName.get("torchclip")?.dependencies ?? [])
    .filter((name) => byName.has(name))
    .map((name) => {
      const needed = closure(name, byName);
      return {
        name,
        own: byName.get(name)?.bytes ?? 0,
        total: sum(needed),
        count: needed.length,
      };
    })
    .sort((a, b) => b.total - a.total);
  const lines = rows.map(
    ({ name, own, total, count }) =>
      `| \`${name}\` | ${megabytes(own)} | ${megabytes(total)} (${count} packages) |`,
  );
  return ["| dependency | download | with its own dependencies |", "|---|---:|---:|", ...lines, ""].join(
    "\n",
  );
}

/**
 * @param {string} name
 * @param {ReadonlyMap<string, Download>} byName
 */
function closure(name, byName) {
  /** @type {Map<string, Download>} */
  const found = new Map();
  const waiting = [name];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const one = byName.get(next);
    if (!one || found.has(next)) continue;
    found.set(next, one);
    waiting.push(...one.dependencies);
  }
  return [...found.values()];
}

/** @param {readonly Download[]} downloads */
const sum = (downloads) => downloads.reduce((total, { bytes }) => total + bytes, 0);

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e5 ? 3 : 2)} MB`;
