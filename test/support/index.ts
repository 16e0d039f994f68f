import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createHash } from "node:crypto";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
export const tinyModel = join(root, "models", "tiny.pt");
/** Data for real-size runs, beside the checkout; tests that need it are skipped without it. */
export const sharedData = join(root, "..", "shared", "data");
export const hasShared = existsSync(sharedData);

/** What a file of test/goldens holds. */
export function golden(name: string): unknown {
  return JSON.parse(readFileSync(join(root, "test/goldens", `${name}.json`), "utf8"));
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

/** Writes files with these names into a folder, by default a temporary one; gives the folder. */
export function writeFiles(files: Record<string, Uint8Array | string>, folder = temporaryFolder()): string {
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), content);
  }
  return folder;
}

/** An error with the fields of TorchclipError that it may have. */
export type Thrown = Error & { code?: string; index?: number; subject?: string };

/** Resolves with the error that `work` throws; fails where it throws none. */
export async function errorOf(work: () => unknown): Promise<Thrown> {
  try {
    await work();
  } catch (error) {
    return error as Thrown;
  }
  throw new Error("nothing was thrown");
}

/** Resolves with the error that `work` throws; fails where it throws none, or one of another code. */
export async function rejectsWith(code: string, work: () => unknown, what = ""): Promise<Thrown> {
  const error = await errorOf(work);
  const expected = `${what} ${code} is expected`.trimStart();
  assert.equal(error.code, code, `${expected}, not ${error.code}: ${error.stack}`);
  return error;
}

/** Fails where a file or folder is there. */
export function assertMissing(path: string): void {
  assert.ok(!existsSync(path), `${path} is there`);
}
