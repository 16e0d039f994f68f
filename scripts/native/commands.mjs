// How each native file is compiled with CMake's preset `strict`, and commands that run side by side over these files.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { readJson } from "../read-json.mjs";
import { root } from "../setup.mjs";

/** @typedef {{ file: string, command: string, directory: string }} Compilation */
/** @typedef {{ command: string, directory: string }} Job a shell command and where it runs */

/** Of the preset, see CMakePresets.json. */
export const BUILD_FOLDER = join(root, "build-strict");

/**
 * Configures the preset. Returns how each native file is compiled; `file` is relative to the root.
 * @returns {Compilation[]}
 */
export function configure() {
  const libtorch = process.env.TORCHCLIP_LIBTORCH ?? libtorchOfBuild();
  execFileSync("cmake", ["--preset", "strict", `-DTORCHCLIP_LIBTORCH=${libtorch}`], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const database = readJson(join(BUILD_FOLDER, "compile_commands.json"));
  const entries = /** @type {Compilation[]} */ (database);
  return entries.map((entry) => ({ ...entry, file: relative(root, entry.file) }));
}

/** @returns {string} */
function libtorchOfBuild() {
  const cache = join(root, "build", "CMakeCache.txt");
  const found = existsSync(cache)
    ? /^TORCHCLIP_LIBTORCH:PATH=(.+)$/m.exec(readFileSync(cache, "utf8"))?.[1]
    : undefined;
  if (!found) throw new Error("set TORCHCLIP_LIBTORCH, or run `npm run build` first");
  return found;
}

/**
 * Runs shell commands, as many at a time as there are cores. Writes the output of each one that fails, and
 * returns how many failed.
 * @param {readonly Job[]} jobs
 */
export async function runAll(jobs) {
  const queue = [...jobs];
  let failed = 0;
  const worker = async () => {
    for (let job = queue.shift(); job; job = queue.shift()) {
      const { code, output } = await runShell(job);
      if (code === 0) continue;
      failed += 1;
      process.stdout.write(output);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return failed;
}

/**
 * @param {Job} job
 * @returns {Promise<{ code: number | null, output: string }>}
 */
function runShell({ command, directory }) {
  return new Promise((resolve) => {
    const child = spawn(command, { cwd: directory, shell: true, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const append = (/** @type {Buffer} */ chunk) => {
      output += chunk.toString();
    };
    child.stdout.on("data", append);
    child.stderr.on("data", append);
    child.on("error", (error) => {
      resolve({ code: 1, output: `${error.message}\n` });
    });
    child.on("close", (code) => {
      resolve({ code, output });
    });
  });
}
