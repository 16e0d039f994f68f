import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { progressBar } from "../cli/io.js";
import { TorchclipError } from "../errors.js";
import { findLibtorch } from "./libtorch.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const require = createRequire(import.meta.url);

/**
 * Finds libtorch and compiles the addon, the C library and their tests; does nothing where nothing has
 * changed.
 */
export async function buildNative(note: (text: string) => void): Promise<void> {
  const bar = progressBar("libtorch");
  const libtorch = await findLibtorch({ note, onProgress: bar.update }).finally(() => bar.stop());
  const cache = join(root, "build", "CMakeCache.txt");
  const configured =
    existsSync(cache) && readFileSync(cache, "utf8").includes(`TORCHCLIP_LIBTORCH:PATH=${libtorch}\n`);
  if (existsSync(cache) && !configured) await rm(join(root, "build"), { recursive: true, force: true });
  note(
    configured
      ? "addon: up to date, or compiling what changed"
      : "addon: compiling (a few minutes the first time)",
  );
  const flags = [`--CDTORCHCLIP_LIBTORCH=${libtorch}`];
  // A precompiled header is 500 MB that stay: it pays where one compiles often, in the repository.
  if (!existsSync(join(root, "package-lock.json"))) flags.push("--CDCMAKE_DISABLE_PRECOMPILE_HEADERS=ON");
  const cmakeJs = join(dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  await runQuietly(process.execPath, [cmakeJs, configured ? "build" : "compile", ...flags], note);
}

/** Runs a command; its output is shown only where it fails. */
function runQuietly(command: string, args: string[], note: (text: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-100_000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) return resolve();
      note(output);
      reject(
        new TorchclipError(
          "E_ADDON",
          `compiling failed (exit ${code}); its output is above. Needed: CMake >= 3.22 and a C++20 compiler`,
        ),
      );
    });
  });
}
