/**
 * Kills (SIGKILL) workers of a queue, and the command that fills it, at random moments and starts new ones, until
 * the run is finished; then compares all rows with those of one undisturbed process. After `npm run build`, with a
 * redis-server (Debian: apt-get install redis-server):
 *
 *     node --import tsx scripts/faults/queue.ts [--count 50] [--seed 1] [--images 120] [--workers 2]
 *
 * The exit status is 1 where a row was lost, doubled or changed.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { embedImages } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { load } from "../../lib/index.js";
import { ShardQueue } from "../../lib/queue/shard-queue.js";
import { statusOf } from "../../lib/queue/status.js";
import { seededRandom } from "../../lib/util/random.js";
import { root, tinyModel } from "../../test/support/index.js";
import { makeImages, readRows, readRun } from "../../test/support/queue.js";
import { noRedis, RedisServer } from "../../test/support/redis.js";

const { values } = parseArgs({
  options: {
    count: { type: "string", default: "50" },
    seed: { type: "string", default: "1" },
    images: { type: "string", default: "120" },
    workers: { type: "string", default: "2" },
  },
});
const KILLS = Number(values.count);
/** Of a worker or of the command that fills the queue, until it is killed; ms. */
const LONGEST_LIFE = 3000;
const LONGEST_ROUND = 300_000; // ms
const MAIN = join(root, "dist/cli/main.js");
const random = seededRandom(Number(values.seed));

/** A process that is killed at a random moment while `isKilling`; resolves with whether it was. */
async function untilKilled(child: ChildProcess, isKilling: () => boolean): Promise<boolean> {
  const closed = new Promise((resolve) => child.once("close", resolve));
  const life = random() * LONGEST_LIFE;
  let killed = false;
  const timer = setTimeout(() => {
    if (!isKilling()) return;
    killed = true;
    child.kill("SIGKILL");
  }, life);
  await closed;
  clearTimeout(timer);
  return killed;
}

interface Round {
  kills: number;
  problems: string[];
}

/** One run, of whose processes at most `kills` are killed. */
async function round(base: string, list: string, server: RedisServer, kills: number): Promise<Round> {
  const out = mkdtempSync(join(base, "out-"));
  let done = 0;
  let finished = false;
  const isKilling = () => done < kills && !finished;
  const start = (args: string[]) => spawn(process.execPath, [MAIN, ...args], { stdio: "ignore" });
  const address = ["--queue", server.url];
  const fill = ["embed", ...address, "-m", tinyModel, "-b", "4", "--format", "npy", "--out", out];
  for (;;) {
    const child = start([...fill, "--enqueue", list, "--shard-bytes", "15500"]);
    if (!(await untilKilled(child, isKilling))) break;
    done++;
  }
  const workers = new Set<ChildProcess>();
  const keepWorking = async () => {
    while (!finished) {
      const child = start(["worker", ...address, "--device", "cpu", "--threads", "1", "--heartbeat", "1"]);
      workers.add(child);
      if (await untilKilled(child, isKilling)) done++;
      workers.delete(child);
    }
  };
  const working = Array.from({ length: Number(values.workers) }, keepWorking);
  const isFinished = await waitFor(server);
  finished = true;
  for (const child of workers) child.kill("SIGKILL");
  await Promise.all(working);
  const problems = isFinished ? compare(base, out) : [`the run did not end within ${LONGEST_ROUND / 1000} s`];
  rmSync(out, { recursive: true, force: true });
  return { kills: done, problems };
}

async function waitFor(server: RedisServer): Promise<boolean> {
  const queue = await ShardQueue.connect(server.url);
  try {
    const end = Date.now() + LONGEST_ROUND;
    while (Date.now() < end) {
      await sleep(200);
      const status = await statusOf(queue);
      if (status?.state === "finished") return true;
      if (status?.state === "failed") process.stdout.write(`${JSON.stringify(status.failures)}\n`);
    }
    return false;
  } finally {
    await queue.close();
  }
}

function compare(base: string, out: string): string[] {
  const wanted = readRows(
    readFileSync(join(base, "single.npy")),
    readFileSync(join(base, "single.npy.json")),
  );
  const { manifest, names, data } = readRun(out);
  const problems: string[] = [];
  if (names.join() !== wanted.names.join()) problems.push(`${names.length} rows, or in another order`);
  if (!data.equals(wanted.data)) problems.push("the rows are not those of one process");
  if (manifest.rows !== wanted.names.length) problems.push(`the manifest says ${manifest.rows} rows`);
  const listed = manifest.shards.flatMap(({ files }) =>
    files.map(({ name }) => name.slice("shards/".length)),
  );
  const there = readdirSync(join(out, "shards")).filter((name) => !name.endsWith(".tmp"));
  if (there.sort().join() !== listed.sort().join()) problems.push("files that the manifest does not name");
  return problems;
}

async function main(): Promise<number> {
  const why = noRedis();
  if (why !== undefined) {
    process.stdout.write(`${why}\n`);
    return 0;
  }
  const base = mkdtempSync(join(tmpdir(), "torchclip-queue-"));
  const server = await RedisServer.start();
  try {
    const list = await makeImages(base, Number(values.images));
    const clip = await load(tinyModel, { device: "cpu", threads: 1, towers: "image" });
    await embedImages(clip, await imageSource(list), join(base, "single.npy"), { input: list, batchSize: 4 });
    await clip.close();
    const problems: string[] = [];
    let [kills, rounds] = [0, 0];
    while (kills < KILLS) {
      const ended = await round(base, list, server, KILLS - kills);
      kills += ended.kills;
      rounds++;
      problems.push(...ended.problems);
    }
    const outcome = problems.length > 0 ? "FAILED" : "nothing lost, nothing doubled";
    process.stdout.write(`queue: ${kills} kills in ${rounds} runs, ${outcome}\n`);
    for (const problem of problems) process.stdout.write(`  ${problem}\n`);
    return problems.length > 0 ? 1 : 0;
  } finally {
    await server.stop();
    rmSync(base, { recursive: true, force: true });
  }
}

process.exit(await main());
