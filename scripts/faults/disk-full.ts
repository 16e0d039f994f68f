/**
 * Lets the disk become full at random offsets of what writes files, and compares what a later run makes of it
 * with an undisturbed run's. The disk is a tmpfs of limited size, so it needs Linux and root; elsewhere it
 * says that it is skipped.
 *
 *     node --import tsx scripts/faults/disk-full.ts [--count 50] [--seed 1] [--only embed-npy,pull]
 *         [--images 60]
 *
 * `--count` is for each operation. The exit status is 1 where anything was lost.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { TorchclipError } from "../../lib/errors.js";
import { seededRandom } from "../../lib/util/random.js";
import {
  damaged,
  digest,
  leftovers,
  makeOperations,
  same,
  startAnew,
  type Digest,
  type Operation,
} from "./operations.js";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    only: { type: "string" },
    images: { type: "string", default: "60" },
  },
});
const LARGE = 512 << 20;
const PAGE = 4096;
const base = mkdtempSync(join(tmpdir(), "torchclip-full-"));
const disk = join(base, "disk");
const out = join(disk, "out");
const random = seededRandom(Number(values.seed));

mkdirSync(disk);
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${LARGE}`, "tmpfs", disk]);
if (mounted.status !== 0) {
  process.stdout.write("skipped: a file system of limited size needs Linux and root\n");
  rmSync(base, { recursive: true, force: true });
  process.exit(0);
}

function resize(bytes: number): void {
  const { status, stderr } = spawnSync("mount", ["-o", `remount,size=${bytes}`, disk], { encoding: "utf8" });
  if (status !== 0) throw new Error(`remount: ${stderr}`);
}

const used = (): number => {
  const { blocks, bfree, bsize } = statfsSync(disk);
  return (blocks - bfree) * bsize;
};

/** The most bytes that the operation holds on the disk at once, and its results. */
async function undisturbed(operation: Operation): Promise<{ wanted: Digest; most: number }> {
  startAnew(operation, out);
  let most = 0;
  const timer = setInterval(() => (most = Math.max(most, used())), 1);
  await operation.here(out);
  clearInterval(timer);
  return { wanted: digest(operation, out), most: Math.max(most, used()) };
}

async function fillMany(operation: Operation, count: number): Promise<boolean> {
  const { wanted, most } = await undisturbed(operation);
  const problems: string[] = [];
  let full = 0;
  for (let i = 0; i < count; i++) {
    startAnew(operation, out);
    resize(used() + Math.ceil((random() * most) / PAGE) * PAGE);
    const error = await operation.here(out).catch((e: unknown) => e);
    if (error instanceof Error) {
      full++;
      if (!(error instanceof TorchclipError && error.code === "E_WRITE"))
        problems.push(`not E_WRITE: ${String(error)}`);
      problems.push(
        ...damaged(operation, out, wanted).map((file) => `on a full disk, ${file} is neither old nor new`),
      );
    }
    resize(LARGE);
    if (error instanceof Error) await operation.here(out);
    if (!same(digest(operation, out), wanted)) problems.push("the results differ from the undisturbed run's");
    problems.push(...leftovers(out).map((file) => `left behind: ${file}`));
  }
  const outcome = problems.length ? "FAILED" : "each ended with the same bytes";
  process.stdout.write(
    `${operation.name}: ${count} sizes below ${most} bytes, ${full} times full, ${outcome}\n`,
  );
  for (const problem of problems.slice(0, 10)) process.stdout.write(`  ${problem}\n`);
  return problems.length === 0;
}

let sound = true;
try {
  const operations = await makeOperations(base, Number(values.images), 0);
  for (const operation of operations.all) {
    if (values.only && !values.only.split(",").includes(operation.name)) continue;
    sound = (await fillMany(operation, Number(values.count))) && sound;
  }
  await operations.close();
} finally {
  spawnSync("umount", ["-l", disk]);
  rmSync(base, { recursive: true, force: true });
}
process.exit(sound ? 0 : 1);
