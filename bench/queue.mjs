// `torchclip embed` by one process against two workers of a queue with the same cores together, in rounds by turns;
// and the memory that a shard takes in Redis. After `npm run build`, with a redis-server:
//   node bench/queue.mjs [--model tiny] [--images 2000] [--rounds 3] [--threads 2] [--shard-bytes 8388608] [--jobs 100000]
// A time is that of the whole command, start of the process and load of the model included. For two workers it
// ends when the manifest is written.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Queue } from "bullmq";
import { Redis } from "ioredis";
import sharp from "sharp";
import { sampleImages } from "./rounds.mjs";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "tiny" },
    images: { type: "string", default: "2000" },
    rounds: { type: "string", default: "3" },
    threads: { type: "string", default: "2" },
    "shard-bytes": { type: "string", default: String(8 << 20) },
    jobs: { type: "string", default: "100000" },
    port: { type: "string", default: "7391" },
  },
});
const MAIN = join(fileURLToPath(import.meta.url), "../../dist/cli/main.js");
const URL_OF_REDIS = `redis://127.0.0.1:${values.port}`;
const SIDE = 400; // pixels
const DIFFERENT = 32;

/** JPEG files in a folder, and the list of them. @param {string} folder */
async function makeList(folder) {
  const { data, width, height } = sampleImages(DIFFERENT, SIDE);
  const bytes = width * height * 3;
  mkdirSync(join(folder, "images"));
  const lines = [];
  for (let i = 0; i < Number(values.images); i++) {
    const start = (i % DIFFERENT) * bytes;
    const raw = { width, height, channels: /** @type {const} */ (3) };
    const path = join(folder, "images", `${String(i).padStart(6, "0")}.jpg`);
    await sharp(data.subarray(start, start + bytes), { raw })
      .jpeg({ quality: 90 })
      .toFile(path);
    lines.push(JSON.stringify({ path }));
  }
  const list = join(folder, "list.jsonl");
  writeFileSync(list, `${lines.join("\n")}\n`);
  return list;
}

/** Runs the command line to its end. @param {string[]} args */
function torchclip(args) {
  const { status, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** @param {string} list @param {string} out */
function byOne(list, out) {
  const started = performance.now();
  torchclip(["embed", list, "-m", values.model, "-d", "cpu", "--threads", values.threads, "-o", out]);
  return performance.now() - started;
}

/** @param {string} list @param {string} out */
async function byTwo(list, out) {
  const address = ["--queue", URL_OF_REDIS];
  const cut = ["--shard-bytes", values["shard-bytes"]];
  torchclip(["embed", ...address, "-m", values.model, "--enqueue", list, "--out", out, ...cut]);
  const started = performance.now();
  const threads = String(Math.max(1, Math.floor(Number(values.threads) / 2)));
  const args = [MAIN, "worker", ...address, "-d", "cpu", "--threads", threads, "--exit-when-done"];
  const workers = [1, 2].map(() => spawn(process.execPath, args, { stdio: "ignore" }));
  const ended = Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("close", resolve))));
  while (!existsSync(join(out, "manifest.json"))) await sleep(20);
  const time = performance.now() - started;
  await ended;
  return time;
}

/** Bytes that a shard takes in Redis, measured over many. @param {Redis} redis */
async function bytesOfShard(redis) {
  const used = async () => Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  await redis.flushall();
  const before = await used();
  const queue = new Queue("memory", { connection: redis, prefix: "torchclip" });
  const count = Number(values.jobs);
  // As lib/queue/shard-queue.ts adds them.
  const opts = {
    attempts: 6,
    backoff: { type: "exponential", delay: 1000, jitter: 0.5 },
    removeOnComplete: true,
    stackTraceLimit: 0,
  };
  for (let first = 0; first < count; first += 1000) {
    const jobs = Array.from({ length: Math.min(1000, count - first) }, (_, i) => {
      const shard = first + i;
      const data = {
        run: "0123456789ab",
        shard,
        part: shard >> 10,
        at: shard * 97,
        length: 65536,
        first,
        rows: 600,
      };
      return { name: "shard", data, opts: { ...opts, jobId: `0123456789ab-${shard}` } };
    });
    await queue.addBulk(jobs);
  }
  const bytes = ((await used()) - before) / count;
  await queue.close();
  await redis.flushall();
  return bytes;
}

const folder = mkdtempSync(join(tmpdir(), "torchclip-queue-bench-"));
const settings = ["--port", values.port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
const server = spawn("redis-server", settings, { stdio: "ignore", cwd: folder });
try {
  const redis = new Redis(URL_OF_REDIS, { maxRetriesPerRequest: null });
  redis.on("error", () => undefined); // until the server listens
  process.stdout.write(`a shard takes ${(await bytesOfShard(redis)).toFixed(0)} bytes in Redis\n`);
  const list = await makeList(folder);
  const rates = { one: /** @type {number[]} */ ([]), two: /** @type {number[]} */ ([]) };
  for (let round = 0; round < Number(values.rounds); round++) {
    const perSecond = (/** @type {number} */ ms) => (Number(values.images) * 1000) / ms;
    rates.one.push(perSecond(byOne(list, join(folder, `one-${round}.parquet`))));
    rates.two.push(perSecond(await byTwo(list, join(folder, `two-${round}`))));
  }
  const [one, two] = [Math.max(...rates.one), Math.max(...rates.two)];
  const cpu = cpus()[0]?.model ?? "unknown CPU";
  process.stdout.write(
    `${cpu}, ${values.threads} threads, ${values.model}, ${values.images} images, best of ${values.rounds}\n`,
  );
  process.stdout.write(`one process ${one.toFixed(1)} images/s, two workers ${two.toFixed(1)} images/s: `);
  process.stdout.write(`${((100 * two) / one).toFixed(1)} %\n`);
  redis.disconnect();
} finally {
  server.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
}
