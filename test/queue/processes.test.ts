import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { QueueStatus } from "../../lib/queue/status.js";
import { root, temporaryFolder, tinyModel } from "../support/index.js";
import { MAIN, printedBy, runNode } from "../support/process.js";
import { makeImages, readRun } from "../support/queue.js";
import { noRedis, RedisServer } from "../support/redis.js";

const COUNT = 9;

describe("a queue by the command line", function () {
  this.timeout(300_000);
  const folder = temporaryFolder();
  const closing: (() => Promise<void>)[] = [];
  let server: RedisServer;
  let list: string;

  before(async function () {
    const why = noRedis();
    if (why !== undefined) {
      console.log(`      ${why}`);
      return this.skip();
    }
    server = await RedisServer.start();
    closing.push(() => server.stop());
    list = await makeImages(folder, COUNT);
  });
  after(() => Promise.all(closing.map((close) => close())));

  const torchclip = (args: string[], env: Record<string, string> = {}) =>
    runNode([MAIN, ...args], { cwd: folder, env: { TORCHCLIP_CACHE: join(folder, "cache"), ...env } });
  const address = () => ["--queue", server.url];
  const enqueue = (out: string, ...more: string[]) =>
    torchclip(["embed", ...address(), "-m", tinyModel, "--enqueue", list, "--out", out, ...more]);
  const worker = ["worker", "--threads", "1", "--device", "cpu", "--heartbeat", "1"];

  it("enqueue, status, worker, status: exit status 3 where images failed", () => {
    const put = enqueue("out", "--shard-bytes", "15500", "--json");
    assert.match(printedBy(put), /"rows":9,"shards":2,"done":0,"resumed":false/);
    const status = () => torchclip(["embed", ...address(), "--status", "--json"]);
    const before = JSON.parse(printedBy(status())) as QueueStatus;
    assert.deepEqual([before.state, before.shards.waiting, before.shards.done], ["working", 2, 0]);
    const done = printedBy(torchclip([...worker, ...address(), "--exit-when-done"]), 3);
    assert.match(done, /shard 0: 4 images in [\d.]+ s/);
    const after = JSON.parse(printedBy(status(), 3)) as QueueStatus;
    assert.deepEqual([after.state, after.shards.done, after.rows.failed], ["finished", 2, 1]);
    assert.match(
      printedBy(torchclip(["embed", ...address(), "--status"]), 3),
      /\[={30}\] 100% 2 of 2 shards/,
    );
    assert.match(readFileSync(join(folder, "out/manifest.json"), "utf8"), /"rows":9,.*"failed":1/);
    const merged = torchclip(["embed", ...address(), "--merge", "--out", "out"]);
    assert.match(merged.stderr, /9 images in 2 shards, 1 failed/);
  });

  it("SIGTERM ends a worker that waits, with exit status 0", async () => {
    const env = { ...process.env, TORCHCLIP_CACHE: join(folder, "cache") };
    const child = spawn(process.execPath, [MAIN, ...worker, ...address()], {
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const closed = new Promise((resolve) => child.once("close", resolve));
    child.stderr.once("data", () => child.kill("SIGTERM"));
    assert.equal(await closed, 0);
  });

  it("without a package: E_PACKAGE_MISSING with the command that installs it", () => {
    const hooks = join(folder, "hooks.mjs");
    writeFileSync(hooks, NOT_INSTALLED);
    const preload = join(folder, "register.mjs");
    writeFileSync(
      preload,
      `import { register } from "node:module"; register(${JSON.stringify(pathToFileURL(hooks).href)});`,
    );
    const without = (missing: string, args: string[]) => {
      const env = { NODE_OPTIONS: `--import=${pathToFileURL(preload).href}`, MISSING: missing };
      const { status, stderr } = torchclip(args, env);
      assert.equal(status, 1, stderr);
      return stderr;
    };
    const status = ["embed", ...address(), "--status"];
    assert.match(without("bullmq", status), /E_PACKAGE_MISSING: .*npm install bullmq@6/);
    assert.match(without("ioredis", status), /E_PACKAGE_MISSING: .*npm install ioredis@6/);
    const toS3 = ["embed", ...address(), "-m", tinyModel, "--enqueue", list, "--out", "s3://bucket/out"];
    assert.match(
      without("@aws-sdk/client-s3", toS3),
      /E_PACKAGE_MISSING: .*npm install @aws-sdk\/client-s3@3/,
    );
  });

  it("wrong options are E_ARGUMENT and exit status 2", () => {
    const wrong: [string[], RegExp][] = [
      [["embed", list], /give either --out FILE or --to TARGET/],
      [["embed", ...address(), "--enqueue", list, "--update"], /--update cannot be given with --queue/],
      [["embed", list, "--out", "x.npy", "--status"], /--status is for --queue REDIS/],
      [["embed", ...address()], /give --enqueue INPUT, --status or --merge/],
      [["embed", ...address(), list, "--status"], /give .* as --enqueue/],
      [["embed", ...address(), "--enqueue", list], /give --out/],
      [["embed", ...address(), "--status", "--threads", "1"], /--threads belongs to `torchclip worker`/],
      [["worker"], /give --queue redis/],
    ];
    for (const [args, message] of wrong) {
      const { status, stderr } = torchclip(args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    }
  });

  it("an image that ends every worker is set aside with an error; the others have their rows", () => {
    printedBy(enqueue("poison", "--format", "npy"));
    const preload = join(folder, "preload.mjs");
    writeFileSync(preload, DIES_AT);
    const env = { NODE_OPTIONS: `--import=${pathToFileURL(preload).href}` };
    let deaths = 0;
    for (;;) {
      const { signal, status, stderr } = torchclip([...worker, ...address(), "--exit-when-done"], env);
      if (signal === null) {
        assert.equal(status, 3, stderr);
        break;
      }
      assert.ok(++deaths < 12, `${deaths} workers ended: ${stderr}`);
    }
    assert.ok(deaths >= 4, `${deaths} workers ended`);
    const { manifest, names } = readRun(join(folder, "poison"));
    assert.deepEqual([manifest.rows, manifest.failed, names.length], [COUNT, 2, COUNT]);
    const failed = readFileSync(join(folder, "poison/failed.jsonl"), "utf8");
    assert.match(failed, /"row":5,.*E_INTERNAL.*set aside: the workers that embedded it ended/);
    assert.match(failed, /"row":8,.*E_IMAGE_DECODE/);
  });

  it("workers that are killed: nothing lost, nothing doubled", () => {
    const script = join(root, "scripts/faults/queue.ts");
    const args = ["--import=tsx", script, "--count", "4", "--images", "40"];
    const { status, stdout, stderr } = runNode(args, { cwd: root, timeout: 280_000 });
    assert.equal(status, 0, stdout + stderr);
    assert.match(stdout, /4 kills in \d+ runs, nothing lost, nothing doubled/);
  });
});

/** Ends the process when it opens one of the images to decode it, as a crash of a decoder would. */
const DIES_AT = `
import files from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
const open = files.open;
files.open = (path, ...rest) => {
  if (String(path).endsWith("0005.png")) process.kill(process.pid, "SIGKILL");
  return open(path, ...rest);
};
syncBuiltinESMExports();
`;

/** Finds a package not, with the error of Node.js. */
const NOT_INSTALLED = `
export function resolve(specifier, context, next) {
  if (specifier !== process.env.MISSING) return next(specifier, context);
  const message = "Cannot find package '" + specifier + "' imported from " + context.parentURL;
  throw Object.assign(new Error(message), { code: "ERR_MODULE_NOT_FOUND" });
}
`;
