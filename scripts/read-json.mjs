// JSON files as scripts read them: the type of what a file holds is stated where it is used.
import { readFileSync } from "node:fs";

/**
 * @param {string} file
 * @returns {unknown}
 */
export function readJson(file) {
  return JSON.parse(readFileSync(file, "utf8"));
}

/**
 * An entry point of package.json.
 * @typedef {{ import?: { default: string }, require?: { default: string } }} EntryPoint
 *
 * The parts of package.json that scripts need.
 * @typedef {{ name: string, exports?: Record<string, string | EntryPoint> }} PackageJson
 */

/**
 * @param {string} file
 * @returns {PackageJson}
 */
export function readPackageJson(file) {
  return /** @type {PackageJson} */ (readJson(file));
}
