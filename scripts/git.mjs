import { execFileSync } from "node:child_process";
import { root } from "./setup.mjs";

/**
 * What git prints in the project's folder, without the last line break.
 * @param {string[]} args
 */
export function git(...args) {
  return execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
}
