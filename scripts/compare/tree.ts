/** A built tree of another commit, kept under build/compare for the next comparison. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../test/support/index.js";
import { git } from "../git.mjs";

/** Whether the tree has the same dependencies as the working tree, and may use its installed packages. */
function sharesPackages(tree: string): boolean {
  const lock = "package-lock.json";
  return readFileSync(join(tree, lock), "utf8") === readFileSync(join(root, lock), "utf8");
}

function npmRunBuild(tree: string): void {
  const { status } = spawnSync("npm", ["run", "build"], { cwd: tree, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error(`the build in ${tree} failed`);
}

/** Unpacks and builds a commit, unless that was done before. Returns its folder and its full name. */
export function builtTree(commit: string): { tree: string; name: string } {
  const name = git("rev-parse", "--verify", `${commit}^{commit}`);
  const tree = join(root, "build", "compare", name.slice(0, 12));
  if (!existsSync(join(tree, "package.json"))) {
    mkdirSync(tree, { recursive: true });
    const archive = execFileSync("git", ["archive", name], { cwd: root, maxBuffer: 2 ** 30 });
    execFileSync("tar", ["-x", "-C", tree], { input: archive });
  }
  const packages = join(tree, "node_modules");
  // Hard links, never a link to the folder: an installation in the tree would empty the working tree's own.
  if (!existsSync(packages) && sharesPackages(tree))
    execFileSync("cp", ["-al", join(root, "node_modules"), packages]);
  npmRunBuild(tree);
  return { tree, name };
}

/** Builds the working tree, with what is not committed. */
export function workingTree(): string {
  npmRunBuild(root);
  return root;
}
