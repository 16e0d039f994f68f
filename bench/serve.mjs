// `torchclip serve` over HTTP: CPU seconds for each image and text against `torchclip embed` and `encodeTexts`,
// latency at a constant rate, memory over many requests, and more requests than it can answer. Linux; the
// server is a process of its own, autocannon is in this one.
//   node bench/serve.mjs [PART…] [--model tiny] [--precision fp32] [--seconds 10] [--images 400] [--requests 100000]
//                        [--peer URL --peer-pid PID]
// PART: images, texts, rate, memory, overload, peer; the first three and overload where none is given. --peer: a
// server with the same model that takes POST /v1/embeddings, such as Infinity (--url-prefix /v1) or the one of
// bench/serve-transformers.mjs. --peer-pid: its process, which is stopped while the other server is measured, so that
// its idle threads take no time.
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { machine, median } from "./rounds.mjs";
import { constantRate, cpuOfEmbed, cpuOfTexts, makePhotographs, startServer } from "./serve-parts.mjs";

/** @typedef {import("./serve-parts.mjs").RunningServer} RunningServer */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: "string", default: "tiny" },
    seconds: { type: "string", default: "10" },
    images: { type: "string", default: "400" },
    requests: { type: "string", default: "100000" },
    peer: { type: "string" },
    "peer-pid": { type: "string" },
    precision: { type: "string", default: "fp32" },
  },
});
const seconds = Number(values.seconds);
const folder = await mkdtemp(join(tmpdir(), "torchclip-serve-"));
const REQUESTS_OF_CLIENT = 8;
/** Seconds. prom-client records the times between two calls of a timer of 10 ms: an idle loop shows 0.01. */
const EVENT_LOOP_TIMER = 0.01;
const OVERLOAD_PARTS = 5;
const JSON_TYPE = { "content-type": "application/json" };

/** The server with the model and precision of the command line. @param {string[]} options */
const start = (options = []) => startServer(values.model, ["--precision", values.precision, ...options]);

/** @param {unknown} input */
const jsonRequest = (input) => ({
  method: /** @type {const} */ ("POST"),
  path: "/v1/embeddings",
  headers: JSON_TYPE,
  body: JSON.stringify({ input, encoding_format: "base64" }),
});

/** @param {Buffer} jpeg */
function formRequest(jpeg) {
  const boundary = "torchclip-bench";
  const entries = JSON.stringify({ clip: { visual: { modelName: values.model } } });
  const part = (/** @type {string} */ rest) =>
    `--${boundary}\r\ncontent-disposition: form-data; name=${rest}`;
  const body = Buffer.concat([
    Buffer.from(`${part(`"entries"\r\n\r\n${entries}`)}\r\n`),
    Buffer.from(`${part('"image"; filename="a.jpg"')}\r\ncontent-type: image/jpeg\r\n\r\n`),
    jpeg,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
  const headers = { "content-type": `multipart/form-data; boundary=${boundary}` };
  return { method: /** @type {const} */ ("POST"), path: "/predict", headers, body };
}

/**
 * Requests for `duration` seconds, or `amount` of them.
 * @param {RunningServer} server
 * @param {autocannon.Request[]} requests
 * @param {Partial<autocannon.Options>} options
 */
async function load(server, requests, options) {
  const cpu = server.cpuSeconds();
  // Each client sends different requests, because a batch of equal texts would cost less than one of different
  // texts; and only a few, because autocannon holds those of each client: 400 images for 320 clients are 9 GB.
  let clients = 0;
  const setupClient = (/** @type {autocannon.Client} */ client) => {
    const first = (clients++ * 7) % requests.length;
    client.setRequests([...requests, ...requests].slice(first, first + REQUESTS_OF_CLIENT));
  };
  const result = await autocannon({
    url: server.url,
    requests: requests.slice(0, 1),
    setupClient,
    ...options,
  });
  const answered = result["2xx"];
  const cpuEach = (server.cpuSeconds() - cpu) / answered;
  return { result, answered, cpuEach, perSecond: answered / result.duration };
}

/** @type {(numbers: Record<string, unknown>) => void} */
const show = (numbers) => console.log(JSON.stringify(numbers));
const ms = (/** @type {number} */ value) => Number((value * 1000).toFixed(3));

const photographs = await makePhotographs(join(folder, "images"), Number(values.images));
const jpegs = photographs.map((file) => readFileSync(file));
const dataUris = jpegs.map((jpeg) => `data:image/jpeg;base64,${jpeg.toString("base64")}`);
const texts = jpegs.map(
  (_, i) => `a photo of ${i} small red circles on a table near window ${(i * 7919) % 1000}`,
);

async function images() {
  const embed = await cpuOfEmbed(join(folder, "images"), photographs.length, values.model, folder);
  const server = await start();
  for (const [form, requests] of /** @type {const} */ ([
    ["base64", dataUris.map(jsonRequest)],
    ["multipart", jpegs.map(formRequest)],
  ])) {
    await load(server, requests, { connections: 32, duration: 2 });
    const { cpuEach, perSecond } = await load(server, requests, { connections: 32, duration: seconds });
    const ratio = Number((cpuEach / embed).toFixed(3));
    show({ part: "images", form, perSecond, cpuMs: ms(cpuEach), embedCpuMs: ms(embed), ratio, wanted: 1.1 });
  }
  await server.stop();
}

async function textPart() {
  const server = await start();
  const requests = texts.map(jsonRequest);
  await load(server, requests, { connections: 64, duration: 2 });
  const before = await server.batches("texts");
  const { cpuEach, perSecond } = await load(server, requests, { connections: 64, duration: seconds });
  const after = await server.batches("texts");
  await server.stop();
  const batchSize = Math.max(1, Math.round((after.items - before.items) / (after.count - before.count)));
  const direct = cpuOfTexts(texts, batchSize, values.model);
  const ratio = Number((cpuEach / direct).toFixed(3));
  show({
    part: "texts",
    perSecond,
    batchSize,
    cpuMs: ms(cpuEach),
    directCpuMs: ms(direct),
    ratio,
    wanted: 1.15,
  });
}

/** The latency at half of the largest rate, against that of one client alone. */
async function rate() {
  const server = await start();
  const requests = dataUris.map(jsonRequest);
  await load(server, requests, { connections: 32, duration: 2 });
  const alone = await load(server, requests, { connections: 1, duration: seconds });
  const most = await load(server, requests, { connections: 32, duration: seconds });
  const perSecond = most.perSecond / 2;
  const amount = Math.max(2000, Math.ceil(perSecond * seconds));
  await fetch(`${server.url}/metrics`); // resets the event loop's histogram
  const { milliseconds, failed } = await constantRate(server.url, requests, { perSecond, amount });
  const eventLoopP99 = await server.metric("nodejs_eventloop_lag_p99_seconds");
  const percentile = (/** @type {number} */ share) =>
    Math.round(milliseconds[Math.ceil(share * milliseconds.length) - 1]);
  const p50Alone = alone.result.latency.p50;
  show({
    part: "rate",
    most: most.perSecond,
    perSecond,
    requests: milliseconds.length,
    failed,
    p50AloneMs: p50Alone,
    p50Ms: percentile(0.5),
    p99Ms: percentile(0.99),
    ratio: Number((percentile(0.99) / p50Alone).toFixed(2)),
    wanted: 3,
    eventLoopP99Ms: ms(eventLoopP99 - EVENT_LOOP_TIMER),
  });
  await server.stop();
}

/** Resident memory: after a tenth of the requests, and after all of them. */
async function memory() {
  const server = await start();
  const most = Number(values.requests);
  for (const [kind, requests, amount] of /** @type {const} */ ([
    ["texts", texts.map(jsonRequest), most],
    ["images", dataUris.map(jsonRequest), Math.ceil(most / 20)],
  ])) {
    await load(server, requests, { connections: 32, amount: Math.max(32, Math.ceil(amount / 10)) });
    const first = server.residentBytes();
    await load(server, requests, { connections: 32, amount: Math.max(32, Math.ceil(amount * 0.9)) });
    const last = server.residentBytes();
    show({
      part: "memory",
      kind,
      amount,
      firstMb: first / 1e6,
      lastMb: last / 1e6,
      growth: last / first - 1,
      wanted: 0.05,
    });
  }
  await server.stop();
}

/**
 * Ten times the largest rate, in five parts: what is answered then, how the memory grows from the first part to the
 * last, with and without V8's heap, and how soon a request is answered again.
 */
async function overload() {
  const server = await start(["--max-waiting", "64"]);
  const requests = dataUris.map(jsonRequest);
  const most = await load(server, requests, { connections: 32, duration: seconds });
  const overallRate = Math.round(most.perSecond * 10);
  const resident = [];
  const withoutHeap = [];
  for (let part = 0; part < OVERLOAD_PARTS; part++) {
    const { result } = await load(server, requests, { connections: 320, overallRate, duration: seconds });
    const { statusCodeStats: statuses, errors, timeouts } = result;
    resident.push(server.residentBytes());
    withoutHeap.push(resident[part] - (await server.metric("nodejs_heap_size_total_bytes")));
    const [residentMb, withoutHeapMb] = [resident[part] / 1e6, withoutHeap[part] / 1e6];
    show({ part: "overload", overallRate, statuses, errors, timeouts, residentMb, withoutHeapMb });
  }
  const began = performance.now();
  const { status } = await fetch(`${server.url}/v1/embeddings`, requests[0]);
  const afterMs = Math.round(performance.now() - began);
  const growthOf = (/** @type {number[]} */ bytes) => bytes[OVERLOAD_PARTS - 1] / bytes[0] - 1;
  const [growth, growthWithoutHeap] = [growthOf(resident), growthOf(withoutHeap)];
  show({ part: "overload", growth, growthWithoutHeap, statusAfter: status, afterMs });
  await server.stop();
}

/** Images a second of this server and of another one, in turn. */
async function peer() {
  const { peer: url, precision } = values;
  const pid = Number(values["peer-pid"]);
  if (url === undefined || !(pid > 0)) throw new Error("--peer URL or --peer-pid PID is missing");
  const requests = dataUris.map((uri) => ({
    ...jsonRequest([uri]),
    body: JSON.stringify({ model: values.model, input: [uri], modality: "image", encoding_format: "base64" }),
  }));
  const server = await start();
  const rates = { ours: [0], other: [0] };
  for (let round = 0; round < 4; round++) {
    for (const [name, one, pause] of /** @type {const} */ ([
      ["ours", server, (/** @type {NodeJS.Signals} */ signal) => process.kill(pid, signal)],
      ["other", { ...server, url }, server.signal],
    ])) {
      pause("SIGSTOP");
      const { perSecond } = await load(one, requests, { connections: 32, duration: seconds });
      pause("SIGCONT");
      if (round > 0) rates[name][round - 1] = perSecond; // the first round warms up
    }
  }
  await server.stop();
  const [ours, theirs] = [median(rates.ours), median(rates.other)];
  const ratio = Number((ours / theirs).toFixed(2));
  show({ part: "peer", url, precision, rates, ours, theirs, ratio, wanted: 2 });
}

const parts = { peer, images, texts: textPart, rate, memory, overload };
const wanted = positionals.length > 0 ? positionals : ["images", "texts", "rate", "overload"];
console.log(machine());
try {
  for (const name of wanted) {
    if (!(name in parts)) throw new Error(`there is no part ${name}`);
    await parts[/** @type {keyof typeof parts} */ (name)]();
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
