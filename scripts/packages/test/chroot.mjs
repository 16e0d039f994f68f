// A small Debian in a folder, in which commands run: without compiler, CMake and Python, with Node.
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, tool } from "./tools.mjs";

export const debian = join(cache, "debian");
/** Nobody in particular: a user who owns nothing there but /srv. */
const USER = "1000:1000";
const CHROOT_PATH = "/opt/bin:/usr/local/bin:/usr/bin:/bin";
const MANAGERS = {
  npm: "npm/bin/npm-cli.js",
  npx: "npm/bin/npx-cli.js",
  pnpm: "pnpm/bin/pnpm.cjs",
  yarn1: "yarn1/bin/yarn.js",
  yarn4: "yarn4/bin/yarn.js",
};

/** Makes the Debian once, and gives it the tools. */
export function prepareDebian() {
  if (!existsSync(debian)) {
    const partial = `${debian}.partial`;
    rmSync(partial, { recursive: true, force: true });
    // libatomic1 is for Node 26 itself.
    const suite = ["--variant=minbase", "--include=libatomic1", "--mode=root", "--quiet", "bookworm"];
    execFileSync("mmdebstrap", [...suite, partial], { stdio: ["ignore", "pipe", "pipe"] });
    renameSync(partial, debian);
  }
  giveTools();
  useNode("node22");
}

/** Copies the tools to /opt, where another list of them is there. */
function giveTools() {
  const wanted = readFileSync(join(cache, "installed.json"), "utf8");
  const stamp = join(debian, "opt/installed.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  rmSync(join(debian, "opt"), { recursive: true, force: true });
  mkdirSync(join(debian, "opt/bin"), { recursive: true });
  for (const name of ["node22", "node24", "node26", "npm", "pnpm", "yarn1", "yarn4"])
    cpSync(tool(name), join(debian, "opt", name), { recursive: true });
  for (const [name, file] of Object.entries(MANAGERS)) {
    const program = `#!/bin/sh\nexec node /opt/${file} "$@"\n`;
    writeFileSync(join(debian, "opt/bin", name), program, { mode: 0o755 });
  }
  writeFileSync(stamp, wanted);
}

/**
 * Makes one of the versions the `node` of all commands.
 * @param {string} name
 */
export function useNode(name) {
  const program = `#!/bin/sh\nexec /opt/${name}/bin/node "$@"\n`;
  writeFileSync(join(debian, "opt/bin/node"), program, { mode: 0o755 });
}

/**
 * Runs a shell script in the Debian, with nothing of this machine's environment. Throws with its output where
 * it fails.
 * @param {string} script
 * @param {{ user?: string, env?: Record<string, string> }} options `user`: default one without rights
 * @returns {string} standard output
 */
export function inDebian(script, { user = USER, env = {} } = {}) {
  const variables = { HOME: "/srv/home", PATH: CHROOT_PATH, LANG: "C.UTF-8", ...env };
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  return execFileSync(
    "chroot",
    [`--userspec=${user}`, debian, "/usr/bin/env", "-i", ...assignments, "/bin/sh", "-euc", script],
    { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], maxBuffer: 64 << 20 },
  );
}

/** The folder /srv of the Debian, as this machine sees it. */
export const srv = join(debian, "srv");

/**
 * An empty folder /srv of the user's, with the files of `from` in it, for each run.
 * @param {Record<string, string>} files names in /srv, and where they are here
 */
export function newWork(files) {
  rmSync(srv, { recursive: true, force: true });
  mkdirSync(join(srv, "home"), { recursive: true });
  for (const [name, from] of Object.entries(files)) cpSync(from, join(srv, name), { recursive: true });
  inDebian("chown -R 1000:1000 /srv", { user: "0:0" });
}

/** Node asks /proc for the number of cores and its own file. */
export function mountProc() {
  const proc = join(debian, "proc");
  mkdirSync(proc, { recursive: true });
  if (existsSync(join(proc, "self"))) return;
  execFileSync("mount", ["-t", "proc", "proc", proc]);
}

export function unmountProc() {
  if (existsSync(join(debian, "proc/self"))) execFileSync("umount", [join(debian, "proc")]);
}
