import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createHash } from "node:crypto";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const tinyModel = join(root, "models", "tiny.pt");
/** Data for real-size runs, beside the checkout; tests that need it are skipped without it. */
export const sharedData = join(root, "..", "shared", "data");
export const hasShared = existsSync(sharedData);

export function golden<T>(name: string): T {
  return JSON.parse(readFileSync(join(root, "test/goldens", `${name}.json`), "utf8")) as T;
}

export function fixture(name: string): string {
  return join(root, "test/fixtures", name);
}

export function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** A folder that is removed after the suite. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "torchclip-test-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Largest difference of two lists. */
export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) return Infinity;
  let most = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= most)) most = d;
  }
  return most;
}

/** Resolves with the error that `work` throws; fails where it throws none. */
export async function errorOf(
  work: () => unknown,
): Promise<Error & { code?: string; index?: number; subject?: string }> {
  try {
    await work();
  } catch (error) {
    return error as Error & { code?: string };
  }
  throw new Error("nothing was thrown");
}

/** What a process that has ended called a temporary file for `name`. */
export function deadTemporaryName(name: string): string {
  const module = JSON.stringify(join(root, "dist/util/files.js"));
  const script = `import { temporaryName } from ${module}; console.log(temporaryName(${JSON.stringify(name)}))`;
  const options = { encoding: "utf8" } as const;
  return spawnSync(process.execPath, ["--input-type=module", "-e", script], options).stdout.trim();
}
