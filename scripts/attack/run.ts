// Hostile model artifacts against this build, in child processes.
//   npx tsx scripts/attack/run.ts [--only WORD]
// Prints a line for each and ends with 1 where one of them crashed, ran, was accepted or took too long.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { hostileArtifacts } from "./artifacts.js";
import type { HostileArtifact } from "./edits.js";

export interface Outcome {
  name: string;
  ok: boolean;
  result: string;
  milliseconds: number;
  megabytes: number;
}

const LIMIT_MS = 240_000; // of one artifact on a machine that is busy; most take some milliseconds
const LIMIT_MB = 400;
const root = join(fileURLToPath(import.meta.url), "..", "..", "..");

/** Runs every artifact; a child that dies or hangs is replaced, and the artifact it had is a finding. */
export async function attackArtifacts(
  only = "",
  report: (o: Outcome) => void = () => undefined,
): Promise<Outcome[]> {
  const folder = mkdtempSync(join(tmpdir(), "torchclip-attack-"));
  const whole = join(root, "models", "tiny.pt");
  const attacks = hostileArtifacts(readFileSync(whole)).filter((a) => a.name.includes(only));
  const outcomes: Outcome[] = [];
  let child = new Child();
  try {
    const reference = await child.run(whole);
    for (const [i, attack] of attacks.entries()) {
      const path = join(folder, `${i}.pt`);
      writeFileSync(path, attack.bytes());
      const found = await child.run(path);
      if (child.dead) child = new Child();
      rmSync(path);
      const outcome = { ...found, name: attack.name, ok: fits(attack, found, reference.result) };
      outcomes.push(outcome);
      report(outcome);
    }
  } finally {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  }
  return outcomes;
}

type Found = Omit<Outcome, "name" | "ok">;

function fits(attack: HostileArtifact, found: Found, reference: string): boolean {
  const expected = attack.expect === "same" ? reference : attack.expect;
  return found.result === expected && found.milliseconds < LIMIT_MS && found.megabytes < LIMIT_MB;
}

class Child {
  dead = false;
  private readonly process = spawn(
    process.execPath,
    ["--import", import.meta.resolve("tsx"), join(root, "scripts/attack/child.ts")],
    {
      cwd: tmpdir(),
      stdio: ["pipe", "pipe", "ignore"],
    },
  );
  private readonly lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();

  constructor() {
    this.process.stdin.on("error", () => undefined); // the child has died: the missing line says so
  }

  async run(path: string): Promise<Found> {
    this.process.stdin.write(`${path}\n`);
    const timer = setTimeout(() => this.kill(), LIMIT_MS);
    const { value, done } = await this.lines.next();
    clearTimeout(timer);
    if (!done) return JSON.parse(value) as Found;
    this.dead = true;
    const ended = this.process.signalCode ?? `exit code ${this.process.exitCode}`;
    return { result: `the process died: ${ended}`, milliseconds: LIMIT_MS, megabytes: 0 };
  }

  kill(): void {
    this.dead = true;
    this.process.kill("SIGKILL");
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({ options: { only: { type: "string", default: "" } } });
  const outcomes = await attackArtifacts(values.only, (o) => {
    const took = `${o.milliseconds} ms, ${o.megabytes} MB`;
    process.stdout.write(`${o.ok ? "ok " : "BAD"} ${o.name}: ${o.result.slice(0, 80)} (${took})\n`);
  });
  const bad = outcomes.filter((o) => !o.ok).length;
  process.stdout.write(`${outcomes.length} hostile artifacts, ${bad} findings\n`);
  process.exit(bad ? 1 : 0);
}
