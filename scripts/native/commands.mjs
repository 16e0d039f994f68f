// How each native file is compiled with CMake's preset `strict`, and commands that run side by side over these files.
import { execFileSync, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, relative } from "node:path";
import { root } from "../setup.mjs";

/** Of the preset, see CMakePresets.json. */
export const BUILD_FOLDER = join(root, "build-strict");

/** Configures the preset, and returns `{ file, command, directory }` of each native file; `file` is relative to the root. */
export function configure() {
  const libtorch = process.env.TORCHCLIP_LIBTORCH ?? libtorchOfBuild();
  execFileSync("cmake", ["--preset", "strict", `-DTORCHCLIP_LIBTORCH=${libtorch}`], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  return JSON.parse(readFileSync(join(BUILD_FOLDER, "compile_commands.json"), "utf8")).map((entry) => ({
    ...entry,
    file: relative(root, entry.file),
  }));
}

function libtorchOfBuild() {
  const cache = join(root, "build", "CMakeCache.txt");
  const found = existsSync(cache) && /^TORCHCLIP_LIBTORCH:PATH=(.+)$/m.exec(readFileSync(cache, "utf8"));
  if (!found) throw new Error("set TORCHCLIP_LIBTORCH, or run `npm run build` first");
  return found[1];
}

/**
 * Runs shell commands, as many at a time as there are cores. Writes the output of each one that fails, and
 * returns how many failed.
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

function runShell({ command, directory }) {
  return new Promise((resolve) => {
    const child = spawn(command, { cwd: directory, shell: true, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const append = (chunk) => (output += chunk);
    child.stdout.on("data", append);
    child.stderr.on("data", append);
    child.on("error", (error) => resolve({ code: 1, output: `${error.message}\n` }));
    child.on("close", (code) => resolve({ code, output }));
  });
}
