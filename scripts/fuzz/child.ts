/**
 * Runs one reader on files that the parent sends, and says how each ended: `fork(child, [READER, FOLDER])`.
 * The parent gives it a small heap and stops it when a file takes too long.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";
import { TorchclipError } from "../../lib/index.js";
import type { FuzzedReader } from "./kinds.js";
import { READERS } from "./readers.js";

export interface Outcome {
  /** "ok", a code of torchclip's, or "OTHER" for any other error. */
  code: string;
  message: string;
  /** Of the processor. */
  seconds: number;
  /** By which the process's memory rose at most. */
  bytes: number;
}

/** Blocks of the readers' sources, by V8's block coverage: [file, first, last] with whether it ran. */
export type Coverage = [block: string, ran: boolean][];

const [name, folder] = process.argv.slice(2);
const reader = READERS.get(name);
if (!reader) throw new Error(`there is no reader ${name}`);

/** Sends the parent process an answer. */
function answer(message: Outcome[] | Coverage | "ready"): void {
  if (!process.send) throw new Error("this script runs in a child process");
  process.send(message);
}
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: true });

async function run(reader: FuzzedReader<unknown>, bytes: Uint8Array): Promise<Outcome> {
  const file = join(folder, reader.file);
  writeFileSync(file, bytes);
  const before = process.memoryUsage.rss();
  const peakBefore = process.resourceUsage().maxRSS;
  const start = process.cpuUsage();
  let code = "ok";
  let message = "";
  try {
    await reader.read(file);
  } catch (error) {
    code = error instanceof TorchclipError && error.code !== "E_INTERNAL" ? error.code : "OTHER";
    message = (error instanceof Error ? error.message : String(error)).slice(0, 4000);
    if (code === "OTHER" && error instanceof Error) message += `\n${error.stack}`;
  }
  const { user, system } = process.cpuUsage(start);
  const peak = process.resourceUsage().maxRSS;
  const left = readdirSync(folder).find((other) => other.endsWith(".tmp"));
  if (left) return { code: "OTHER", message: `${left} was left`, seconds: 0, bytes: 0 };
  return {
    code,
    message,
    seconds: (user + system) / 1e6,
    bytes: peak > peakBefore ? peak * 1024 - before : 0,
  };
}

function coverage(): Promise<Coverage> {
  return new Promise((resolve, reject) => {
    session.post("Profiler.takePreciseCoverage", (error, { result }) => {
      if (error) {
        reject(error);
        return;
      }
      const blocks: Coverage = [];
      for (const script of result.filter((s) =>
        /\/lib\/(models|text|util|datasets|embed|search)\//.test(s.url),
      )) {
        const file = script.url.slice(script.url.indexOf("/lib/") + 1);
        for (const { ranges } of script.functions)
          for (const r of ranges) blocks.push([`${file} ${r.startOffset} ${r.endOffset}`, r.count > 0]);
      }
      resolve(blocks);
    });
  });
}

async function runAll(reader: FuzzedReader<unknown>, files: readonly Uint8Array[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const bytes of files) outcomes.push(await run(reader, bytes));
  return outcomes;
}

process.on("message", (message: Uint8Array[] | "coverage") => {
  void (message === "coverage" ? coverage() : runAll(reader, message)).then(answer);
});
answer("ready");
