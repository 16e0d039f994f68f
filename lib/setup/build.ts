import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { TorchclipError } from "../errors.js";
import { packageRoot } from "../util/package.js";
import { findLibtorch } from "./libtorch.js";

const require = createRequire(import.meta.url);

/** Shows how far the download of libtorch is. */
export interface DownloadProgress {
  update(done: number, total: number | undefined): void;
  stop(): void;
}

/**
 * Finds libtorch and compiles the addon, the C library and their tests; does nothing where nothing has
 * changed.
 */
export async function buildNative(note: (text: string) => void, progress: DownloadProgress): Promise<void> {
  const onProgress = progress.update.bind(progress);
  const libtorch = await findLibtorch({ note, onProgress }).finally(() => progress.stop());
  const cache = join(packageRoot, "build", "CMakeCache.txt");
  const configured =
    existsSync(cache) && readFileSync(cache, "utf8").includes(`TORCHCLIP_LIBTORCH:PATH=${libtorch}\n`);
  if (existsSync(cache) && !configured)
    await rm(join(packageRoot, "build"), { recursive: true, force: true });
  note(
    configured
      ? "addon: up to date, or compiling what changed"
      : "addon: compiling (a few minutes the first time)",
  );
  const flags = [`--CDTORCHCLIP_LIBTORCH=${libtorch}`];
  // A precompiled header is 500 MB that stay: it pays where one compiles often, in the repository.
  if (!existsSync(join(packageRoot, "package-lock.json")))
    flags.push("--CDCMAKE_DISABLE_PRECOMPILE_HEADERS=ON");
  const cmakeJs = join(dirname(require.resolve("cmake-js/package.json")), "bin", "cmake-js");
  await runQuietly(process.execPath, [cmakeJs, configured ? "build" : "compile", ...flags], note);
}

/** Runs a command; its output is shown only where it fails. */
function runQuietly(command: string, args: string[], note: (text: string) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: packageRoot, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (chunk: Buffer) => (output = (output + chunk.toString()).slice(-100_000));
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) {
        resolve();
        return;
      }
      note(output);
      reject(
        new TorchclipError(
          "E_ADDON",
          `compiling failed (exit ${String(code)}); its output is above. ` +
            "Needed: CMake >= 3.22 and a C++20 compiler",
        ),
      );
    });
  });
}
