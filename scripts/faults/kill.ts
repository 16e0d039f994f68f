/**
 * Kills (SIGKILL) what writes files at random moments, lets it go on without removing anything by hand, and
 * compares the results with an undisturbed run's; after `npm run build`:
 *
 *     node --import tsx scripts/faults/kill.ts [--count 100] [--seed 1] [--only embed-npy,pull] [--images 60]
 *
 * `--count` is for each operation. The exit status is 1 where anything was lost.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { seededRandom } from "../../lib/util/random.js";
import { damaged, digest, leftovers, makeOperations, same, startAnew, type Operation } from "./operations.js";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    images: { type: "string", default: "60" },
  },
});
const base = mkdtempSync(join(tmpdir(), "torchclip-kill-"));
const random = seededRandom(Number(values.seed));
/** 3: with failed items, and one image cannot be read. */
const isFinished = (status: number | undefined) => status === 0 || status === 3;

/**
 * Runs the operation in a process, which is killed after `killAfter` ms; its exit status, or undefined where
 * it was killed.
 */
async function run(
  operation: Operation,
  out: string,
  killAfter?: number,
): Promise<{ status: number | undefined; ms: number; errors: string }> {
  const started = performance.now();
  const child = spawn(process.execPath, operation.child(out), { stdio: ["ignore", "ignore", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => (errors += chunk));
  const timer = killAfter === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), killAfter);
  const status = await new Promise<number | undefined>((resolve) =>
    child.on("close", (code) => resolve(code ?? undefined)),
  );
  clearTimeout(timer);
  return { status, ms: performance.now() - started, errors };
}

async function killMany(operation: Operation, kills: number): Promise<boolean> {
  const out = join(base, operation.name);
  startAnew(operation, out);
  const whole = await run(operation, out);
  if (!isFinished(whole.status)) throw new Error(`${operation.name} fails without a fault: ${whole.errors}`);
  const wanted = digest(operation, out);
  const problems: string[] = [];
  let [done, rounds, duration] = [0, 0, whole.ms];
  while (done < kills) {
    rounds++;
    startAnew(operation, out);
    for (let [finished, runs] = [false, 1]; !finished; runs++) {
      // The last run of a round is left alone.
      const { status, errors, ms } = await run(
        operation,
        out,
        done < kills ? random() * duration : undefined,
      );
      // Other work on the machine may have made the first run slow: kills would nearly always come too late.
      if (status !== undefined && runs === 1) duration = ms;
      if (status === undefined) done++;
      else if (!isFinished(status)) problems.push(`status ${status}: ${errors.trim().slice(-900)}`);
      finished = status !== undefined;
      problems.push(
        ...damaged(operation, out, wanted).map((file) => `after a kill, ${file} is neither old nor new`),
      );
    }
    if (!same(digest(operation, out), wanted)) problems.push("the results differ from the undisturbed run's");
    problems.push(...leftovers(out).map((file) => `left behind: ${file}`));
  }
  const outcome = problems.length ? "FAILED" : "each ended with the same bytes";
  process.stdout.write(`${operation.name}: ${done} kills in ${rounds} rounds, ${outcome}\n`);
  for (const problem of problems.slice(0, 10)) process.stdout.write(`  ${problem}\n`);
  return problems.length === 0;
}

const operations = await makeOperations(base, Number(values.images), 4);
let sound = true;
for (const operation of operations.all) {
  if (values.only && !values.only.split(",").includes(operation.name)) continue;
  sound = (await killMany(operation, Number(values.count))) && sound;
}
await operations.close();
rmSync(base, { recursive: true, force: true });
process.exit(sound ? 0 : 1);
