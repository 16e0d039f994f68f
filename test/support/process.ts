import assert from "node:assert/strict";
import { execFile, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { join } from "node:path";
import { root } from "./index.js";

/** Runs of Node.js and of the command line in processes of their own. */

const LIMIT_MS = 240_000;

/** The command line as it was built. */
export const MAIN = join(root, "dist", "cli", "main.js");

export interface RunOptions {
  cwd?: string;
  /** What is added to the environment. */
  env?: Record<string, string>;
  input?: string;
  uid?: number;
  gid?: number;
  /** Milliseconds after which it is killed. */
  timeout?: number;
}

/** Runs Node.js with these arguments until it ends. */
export function runNode(args: readonly string[], options: RunOptions = {}): SpawnSyncReturns<string> {
  const env = { ...process.env, ...options.env };
  return spawnSync(process.execPath, args, { encoding: "utf8", timeout: LIMIT_MS, ...options, env });
}

/** Runs a module that is given as a text. */
export function runScript(script: string, flags: readonly string[] = [], options: RunOptions = {}) {
  return runNode([...flags, "--input-type=module", "--eval", script], options);
}

/** Runs a module that is given as a text and may import the TypeScript of the sources. */
export function runSources(script: string, options: RunOptions = {}) {
  return runScript(script, ["--import", "tsx"], { cwd: root, ...options });
}

/** What a run prints that has to end with `status`, and not by a signal. */
export function printedBy(run: SpawnSyncReturns<string>, status = 0): string {
  assert.equal(run.signal, null, `killed by ${run.signal}: ${run.stderr}`);
  assert.equal(run.status, status, run.stderr);
  return run.stdout;
}

/** The command line with its cache in a folder: `cli("eval", "-m", "tiny")`. */
export function commandLine(cache: string): (...args: string[]) => SpawnSyncReturns<string> {
  return (...args) => runNode([MAIN, ...args], { env: { TORCHCLIP_CACHE: cache } });
}

export interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** The command line beside this process, whose servers can answer it. */
export function commandLineBeside(cache: string): (...args: string[]) => Promise<Ended> {
  const options = { cwd: root, env: { ...process.env, TORCHCLIP_CACHE: cache } };
  return (...args) =>
    new Promise((resolve) => {
      const child = execFile(process.execPath, [MAIN, ...args], options, (_, stdout, stderr) => {
        resolve({ status: child.exitCode, stdout, stderr });
      });
    });
}

/** What a process that has ended called a temporary file for `name`. */
export function deadTemporaryName(name: string): string {
  const module = JSON.stringify(join(root, "dist/util/files.js"));
  const script = `
    import { temporaryName } from ${module};
    console.log(temporaryName(${JSON.stringify(name)}));`;
  return runScript(script).stdout.trim();
}
