// What bench/serve.mjs measures with: the server as a process, and the CPU time of the same work without HTTP.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const MAIN = join(root, "dist", "cli", "main.js");
/** Of /proc: the kernel's USER_HZ. */
const TICKS_A_SECOND = 100;
const PAGE_BYTES = 4096;

/**
 * @typedef {object} RunningServer
 * @property {string} url
 * @property {() => number} cpuSeconds user and system, of all its threads
 * @property {() => number} residentBytes
 * @property {(name: string, labels?: string) => Promise<number>} metric
 * @property {(kind: string) => Promise<{ items: number, count: number }>} batches that it has started
 * @property {(signal: NodeJS.Signals) => boolean} signal
 * @property {() => Promise<void>} stop
 */

/**
 * @param {string} model
 * @param {string[]} options
 * @returns {Promise<RunningServer>}
 */
export async function startServer(model, options = []) {
  const args = [MAIN, "serve", "-m", model, "--port", "0", "--log-level", "silent", ...options];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const output = /** @type {unknown[]} */ (await once(child.stdout, "data"));
  const line = String(output[0]);
  const url = / at (http:\S+)/.exec(line)?.[1];
  if (url === undefined || child.pid === undefined) throw new Error(`the server did not start: ${line}`);
  const stat = () => readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ")[1].split(" ").map(Number);
  const metric = async (/** @type {string} */ name, labels = "") => {
    const text = await (await fetch(`${url}/metrics`)).text();
    const start = labels ? `${name}{${labels}} ` : `${name} `;
    const found = text.split("\n").find((row) => row.startsWith(start));
    return Number(found?.split(" ").at(-1) ?? 0);
  };
  return {
    url,
    // Fields 14, 15 and 24 of proc(5); the array begins with field 3.
    cpuSeconds: () => (stat()[11] + stat()[12]) / TICKS_A_SECOND,
    residentBytes: () => stat()[21] * PAGE_BYTES,
    metric,
    signal: (signal) => child.kill(signal),
    async batches(kind) {
      const labels = `model="${model}",kind="${kind}"`;
      const items = await metric("torchclip_batch_size_sum", labels);
      return { items, count: await metric("torchclip_batch_size_count", labels) };
    },
    async stop() {
      const exit = once(child, "exit");
      child.kill("SIGTERM");
      await exit;
    },
  };
}

/**
 * JPEG files of 500 × 375 pixels with edges and noise, of about 50 KB as photographs are.
 * @param {string} folder
 * @param {number} count
 */
export async function makePhotographs(folder, count) {
  mkdirSync(folder);
  const files = [];
  for (let i = 0; i < count; i++) {
    const noise = { type: /** @type {const} */ ("gaussian"), mean: 60 + ((i * 37) % 140), sigma: 40 };
    const create = {
      width: 500,
      height: 375,
      channels: /** @type {const} */ (3),
      noise,
      background: "black",
    };
    const file = join(folder, `${i}.jpg`);
    writeFileSync(file, await sharp({ create }).blur(0.8).jpeg({ quality: 85 }).toBuffer());
    files.push(file);
  }
  return files;
}

/**
 * @typedef {object} HttpRequest
 * @property {string} method
 * @property {string} path
 * @property {Record<string, string>} headers
 * @property {string | Buffer} body
 */

/**
 * Sends requests at equal intervals, whether or not the ones before are answered, and measures each from the time
 * at which it was due. autocannon's `overallRate` cannot do that: all its clients send at the beginning of a second,
 * and it fills in latencies at steps of 1 ms.
 * @param {string} url
 * @param {HttpRequest[]} requests sent in turn
 * @param {{ perSecond: number, amount: number }} rate
 * @returns {Promise<{ milliseconds: number[], failed: number }>} of the requests answered with 200, in ascending order
 */
export async function constantRate(url, requests, { perSecond, amount }) {
  const agent = new Agent({ keepAlive: true });
  const send = (/** @type {HttpRequest} */ { method, path, headers, body }) =>
    /** @type {Promise<number | undefined>} */ (
      new Promise((resolve, reject) => {
        const sent = httpRequest(new URL(path, url), { method, headers, agent }, (answer) => {
          answer.resume();
          answer.on("end", () => resolve(answer.statusCode));
          answer.on("error", reject);
        });
        sent.on("error", reject);
        sent.end(body);
      })
    );
  const begin = performance.now();
  /** @type {number[]} */
  const milliseconds = [];
  let failed = 0;
  const answers = [];
  for (let i = 0; i < amount; i++) {
    const due = begin + (i * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    const measured = send(requests[i % requests.length]).then(
      (status) => (status === 200 ? milliseconds.push(performance.now() - due) : failed++),
      () => failed++,
    );
    answers.push(measured);
  }
  await Promise.all(answers);
  agent.destroy();
  return { milliseconds: milliseconds.sort((a, b) => a - b), failed };
}

/** Prints the CPU time of a process at its end, in seconds. */
const PRINT_CPU = `process.on("exit", () => {
  const { user, system } = process.cpuUsage();
  process.stderr.write("CPU " + (user + system) / 1e6 + "\\n");
});`;

/**
 * The CPU seconds of a process of Node.
 * @param {string[]} args
 * @param {string} [input]
 */
function cpuOf(args, input) {
  const hook = `data:text/javascript,${encodeURIComponent(PRINT_CPU)}`;
  const run = spawnSync(process.execPath, ["--import", hook, ...args], {
    encoding: "utf8",
    input,
    cwd: root,
  });
  if (run.status !== 0) throw new Error(run.stderr);
  return Number(/CPU ([\d.]+)/.exec(run.stderr)?.[1]);
}

/**
 * CPU seconds of `torchclip embed` for each image: what the folder takes more than one image of it.
 * @param {string} images
 * @param {number} count
 * @param {string} model
 * @param {string} folder
 */
export async function cpuOfEmbed(images, count, model, folder) {
  const embed = (/** @type {string} */ input, /** @type {string} */ name) =>
    cpuOf([MAIN, "embed", input, "-o", join(folder, name), "-m", model]);
  const one = join(folder, "one");
  await makePhotographs(one, 1);
  const start = embed(one, "one.npy");
  return (embed(images, "all.npy") - start) / (count - 1);
}

/**
 * CPU seconds of `encodeTexts` for each text, at a batch size.
 * @param {string[]} texts
 * @param {number} batchSize
 * @param {string} model
 */
export function cpuOfTexts(texts, batchSize, model) {
  const script = `
    import { readFileSync } from "node:fs";
    import { load } from "torchclip";
    const { texts, batchSize, rounds, model } = JSON.parse(readFileSync(0, "utf8"));
    const clip = await load(model);
    for (let round = 0; round < rounds; round++)
      for (let at = 0; at < texts.length; at += batchSize)
        await clip.encodeTexts(texts.slice(at, at + batchSize), { batchSize });
    await clip.close();`;
  const run = (/** @type {number} */ rounds) =>
    cpuOf(["--input-type=module", "--eval", script], JSON.stringify({ texts, batchSize, rounds, model }));
  const [few, many] = [run(1), run(11)];
  return (many - few) / (10 * texts.length);
}
