/**
 * Fuzzes the readers of other people's files: structures (pickle operations, JSON values, protobuf fields,
 * lines) are changed, get the lengths and checksums of their container, and are read in a child process with
 * a small heap.
 *
 *     node --import tsx scripts/fuzz-formats.ts [--reader pickle] [--seconds 60] [--seed 1]
 *
 * A finding is any end but success or a TorchclipError, more than 0.2 s of the processor a kB (and more than
 * the reader's floor, 0.3 s), more than 64 MB, or a file left behind. Findings are run again in a fresh
 * process, and those that stay are kept as fuzz-READER-N-NAME. Inputs whose end is a new code or message are
 * changed further. The same seed makes the same changes; how many fit into the seconds depends on the
 * machine.
 */
import { fork, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { pick, seededRandom } from "../lib/util/random.js";
import type { Coverage, Outcome } from "./fuzz/child.js";
import type { FuzzedReader } from "./fuzz/kinds.js";
import { READERS } from "./fuzz/readers.js";

const { values: flags } = parseArgs({
  options: {
    reader: { type: "string", multiple: true },
    seconds: { type: "string", default: "60" },
    seed: { type: "string", default: "1" },
  },
});
const CHILD = fileURLToPath(new URL("fuzz/child.ts", import.meta.url));
const HEAP_MB = 256;
const MOST_FILE = 256 << 10;
const MOST_BYTES = 64 << 20;
const SECONDS_PER_KB = 0.2;
const FLOOR_SECONDS = 0.3;
/** By the clock, on a machine that does other things too. */
const HANG_MS = 60_000;
/** A busy machine compiles the sources in minutes. */
const START_MS = 600_000;
/** Files that the child process gets at once. */
const BATCH = 32;
const MOST_FINDINGS = 20;
const MOST_GOOD = 500;

/** The child process of a reader; a new one is made when it ended. */
class Runner {
  private child: ChildProcess | undefined;
  private readonly folder = mkdtempSync(join(tmpdir(), "torchclip-fuzz-"));

  constructor(private readonly reader: string) {}

  /** How each file ended. A file that ends the process is found by running all of them one by one. */
  async run(files: readonly Buffer[]): Promise<Outcome[]> {
    const answer = await this.ask<Outcome[]>(files);
    if (typeof answer !== "string") return answer;
    if (files.length === 1) return [{ code: "OTHER", message: answer, seconds: 0, bytes: 0 }];
    const outcomes: Outcome[] = [];
    for (const file of files) outcomes.push(...(await this.run([file])));
    return outcomes;
  }

  /** The first files of a process pay for its compilation: the seeds, thrice. They must be good ones. */
  async warmUp(reader: FuzzedReader<unknown>): Promise<void> {
    const files = (await reader.seeds()).map((structure) => reader.encode(structure));
    for (let i = 0; i < 3; i++) {
      const bad = (await this.run(files)).find(({ code }) => code !== "ok");
      if (bad) throw new Error(`a seed of ${this.reader} is not read: ${bad.code} ${bad.message}`);
    }
  }

  async coverage(): Promise<Coverage> {
    const answer = await this.ask<Coverage>("coverage");
    return typeof answer === "string" ? [] : answer;
  }

  stop(): void {
    this.child?.kill("SIGKILL");
    this.child = undefined;
  }

  remove(): void {
    this.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** The child's answer, or how it ended without one. */
  private async ask<T>(message: readonly Buffer[] | string): Promise<T | string> {
    const child = (this.child ??= await this.start());
    return this.answer<T>(child, HANG_MS, () => child.send(message));
  }

  private answer<T>(child: ChildProcess, milliseconds: number, send: () => void): Promise<T | string> {
    return new Promise((resolve) => {
      const done = (answer: T | string) => {
        clearTimeout(timer);
        child.removeAllListeners();
        resolve(answer);
      };
      const timer = setTimeout(() => {
        this.stop();
        done(`it did not answer within ${milliseconds / 1000} s`);
      }, milliseconds);
      child.once("message", (answer) => done(answer as T));
      child.once("exit", (code, signal) => {
        this.child = undefined;
        done(`the process ended with ${signal ?? code}`);
      });
      send();
    });
  }

  private async start(): Promise<ChildProcess> {
    const execArgv = ["--import", "tsx", `--max-old-space-size=${HEAP_MB}`, "--max-semi-space-size=4"];
    const child = fork(CHILD, [this.reader, this.folder], {
      execArgv,
      serialization: "advanced",
      stdio: ["ignore", "ignore", "ignore", "ipc"],
    });
    const ready = await this.answer<string>(child, START_MS, () => undefined);
    if (ready !== "ready") throw new Error(`the child process does not start: ${ready}`);
    return child;
  }
}

function wrong(outcome: Outcome, size: number, floor: number): string | undefined {
  if (outcome.code === "OTHER") return outcome.message;
  if (outcome.seconds > Math.max(floor, (SECONDS_PER_KB * size) / 1024))
    return `${outcome.seconds.toFixed(2)} s for ${size} bytes`;
  if (outcome.bytes > MOST_BYTES) return `${(outcome.bytes / 2 ** 20).toFixed(0)} MB for ${size} bytes`;
  return undefined;
}

/** A message without what differs from file to file. */
const kind = ({ code, message }: Outcome): string =>
  `${code} ${message.replace(/"[^"]*"|\/\S+|[\d.e+-]+/g, "#").slice(0, 120)}`;

async function fuzz(
  name: string,
  reader: FuzzedReader<unknown>,
  seconds: number,
  seed: number,
): Promise<number> {
  const random = seededRandom(seed);
  const runner = new Runner(name);
  const floor = reader.floor ?? FLOOR_SECONDS;
  const corpus = await reader.seeds();
  /** Structures that are read to the end: what is changed in them is met by all of the reader. */
  const good = corpus.slice();
  const kinds = new Map<string, number>();
  let executions = 0;
  let findings = 0;
  await runner.warmUp(reader);
  const end = performance.now() + seconds * 1000;
  while (performance.now() < end && findings < MOST_FINDINGS) {
    const structures = Array.from({ length: BATCH }, () =>
      reader.mutate(pick(random, random() < 0.6 ? good : corpus), random),
    );
    const files = structures.map((structure) => reader.encode(structure));
    const kept = files.flatMap((file, i) => (file.length <= MOST_FILE ? [i] : []));
    const outcomes = await runner.run(kept.map((i) => files[i]));
    executions += kept.length;
    for (const [n, outcome] of outcomes.entries()) {
      const bytes = files[kept[n]];
      if (!kinds.has(kind(outcome))) corpus.push(structures[kept[n]]);
      if (outcome.code === "ok" && good.length < MOST_GOOD) good.push(structures[kept[n]]);
      kinds.set(kind(outcome), (kinds.get(kind(outcome)) ?? 0) + 1);
      const why = wrong(outcome, bytes.length, floor);
      if (!why || !(await confirmed(name, reader, bytes))) continue;
      const file = `fuzz-${name}-${++findings}-${reader.file}`;
      writeFileSync(file, bytes);
      process.stdout.write(`${file}: ${why}\n`);
    }
  }
  await report(name, runner, { executions, findings, kinds, corpus: corpus.length });
  runner.remove();
  return findings;
}

/** Whether a file breaks the rules in a fresh process as well, where nothing else has filled the heap. */
async function confirmed(name: string, reader: FuzzedReader<unknown>, bytes: Buffer): Promise<boolean> {
  const runner = new Runner(name);
  try {
    await runner.warmUp(reader);
    const [outcome] = await runner.run([bytes]);
    return wrong(outcome, bytes.length, reader.floor ?? FLOOR_SECONDS) !== undefined;
  } finally {
    runner.remove();
  }
}

async function report(
  name: string,
  runner: Runner,
  sums: { executions: number; findings: number; kinds: Map<string, number>; corpus: number },
): Promise<void> {
  const blocks = new Map(await runner.coverage());
  const ran = [...blocks.values()].filter((one) => one).length;
  const codes = new Map<string, number>();
  for (const [what, count] of sums.kinds)
    codes.set(what.split(" ")[0], (codes.get(what.split(" ")[0]) ?? 0) + count);
  const byCode = [...codes].sort().map(([code, count]) => `${code} ${count}`);
  process.stdout.write(
    `${name}: ${sums.executions} executions, ${sums.findings} findings; ${byCode.join(", ")}; ` +
      `${sums.kinds.size} different ends, corpus ${sums.corpus}, ${ran} of ${blocks.size} blocks\n`,
  );
}

let findings = 0;
for (const name of flags.reader ?? READERS.keys()) {
  const reader = READERS.get(name);
  if (!reader) throw new Error(`there is no reader ${name}; there are ${[...READERS.keys()].join(", ")}`);
  findings += await fuzz(name, reader, Number(flags.seconds), Number(flags.seed));
}
process.exit(findings ? 1 : 0);
