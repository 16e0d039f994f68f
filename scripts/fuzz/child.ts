/**
 * Runs one reader on files that the parent sends, and says how each ended: `fork(child, [READER, FOLDER])`.
 * The parent gives it a small heap and stops it when a file takes too long.
 */
import { readdirSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";
import { TorchclipError } from "../../lib/index.js";
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
const reader = READERS.get(name)!;
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.startPreciseCoverage", { callCount: false, detailed: true });

async function run(bytes: Uint8Array): Promise<Outcome> {
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
    message = String((error as Error)?.message ?? error).slice(0, 4000);
    if (code === "OTHER") message += `\n${String((error as Error)?.stack)}`;
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
      if (error) return reject(error);
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

async function runAll(files: readonly Uint8Array[]): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const bytes of files) outcomes.push(await run(bytes));
  return outcomes;
}

process.on("message", (message: Uint8Array[] | "coverage") => {
  void (message === "coverage" ? coverage() : runAll(message)).then((answer) => process.send!(answer));
});
process.send!("ready");
