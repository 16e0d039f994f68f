import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { colourImages } from "../support/colours.js";
import { root, temporaryFolder } from "../support/index.js";
import { commandLine, MAIN, printedBy, runNode } from "../support/process.js";
import { answerOf, dataUri } from "../support/server.js";

interface Running {
  child: ChildProcess;
  url: string;
  /** What it has written on standard error until now. */
  log: () => string;
  /** Sends a signal and resolves with the exit status. */
  end: (signal: NodeJS.Signals) => Promise<number | null>;
}

describe("torchclip serve", function () {
  this.timeout(60_000);
  const cache = temporaryFolder();
  const running = new Set<ChildProcess>();
  afterEach(() => {
    for (const child of running) child.kill("SIGKILL");
    running.clear();
  });

  async function start(args: string[] = [], env: Record<string, string> = {}): Promise<Running> {
    const child = spawn(process.execPath, [MAIN, "serve", "--port", "0", ...args], {
      cwd: root,
      env: { ...process.env, TORCHCLIP_CACHE: cache, ...env },
    });
    running.add(child);
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => (log += chunk.toString()));
    const [line] = (await Promise.race([
      once(child.stdout, "data"),
      once(child, "exit").then(() => assert.fail(`it ended: ${log}`)),
    ])) as [Buffer];
    const url = / at (http:\S+)/.exec(line.toString())![1];
    const end = async (signal: NodeJS.Signals) => {
      const exit = once(child, "exit");
      child.kill(signal);
      return ((await exit) as [number | null])[0];
    };
    return { child, url, log: () => log, end };
  }

  const embed = async (url: string, input: unknown, key?: string) => {
    const response = await fetch(`${url}/v1/embeddings`, {
      method: "POST",
      headers: { "content-type": "application/json", ...(key && { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ input }),
    });
    return answerOf(response);
  };

  it("answers, and logs neither texts nor images nor keys", async () => {
    const server = await start(["-m", "first=tiny", "-m", "second=tiny"], {
      TORCHCLIP_API_KEYS: "key-one, key-two",
    });
    assert.equal((await embed(server.url, "a")).status, 401);
    const { status, body } = await embed(
      server.url,
      ["a private text", dataUri("images/rgb420.jpg")],
      "key-two",
    );
    assert.equal(status, 200);
    assert.equal((body as { model: string }).model, "first");
    await embed(server.url, [`data:image/png;base64,${"A".repeat(100)}`], "key-one");
    await fetch(`${server.url}/v1/models?secret=query`);
    assert.equal(await server.end("SIGTERM"), 0);
    const lines = server
      .log()
      .split("\n")
      .filter((line) => line.startsWith("{"));
    const answered = lines
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) => msg === "answered");
    assert.deepEqual(
      answered.map(({ route, status: code, model, items }) => [route, code, model, items]),
      [
        ["/v1/embeddings", 401, undefined, 0],
        ["/v1/embeddings", 200, "first", 2],
        ["/v1/embeddings", 400, "first", 1],
        ["/v1/models", 401, undefined, 0],
      ],
    );
    assert.doesNotMatch(server.log(), /private|key-|AAAA|secret|base64/);
  });

  it("a server of several shards: files, and the index of another server", async () => {
    const folder = temporaryFolder();
    const cli = commandLine(cache);
    const names = ["blue", "lime", "red"];
    const files = names.map((name) => join(folder, `${name}.npy`));
    for (const [i, name] of names.entries()) {
      await colourImages(join(folder, name), [name]);
      printedBy(cli("embed", join(folder, name), "-o", files[i], "-m", "tiny"));
    }
    const shard = await start(["--index", `last=${files[2]}`, "--index-images", join(folder, "red")], {
      TORCHCLIP_API_KEYS: "key",
    });
    const indexes = [`all=${files[0]}`, `all=${files[1]}`, `all=${shard.url}#last`];
    const images = ["blue", "lime"].flatMap((name) => ["--index-images", join(folder, name)]);
    const env = { TORCHCLIP_SHARD_API_KEY: "key" };
    const server = await start([...indexes.flatMap((index) => ["--index", index]), ...images], env);
    const uri = `data:image/png;base64,${readFileSync(join(folder, "red/red.png")).toString("base64")}`;
    const response = await fetch(`${server.url}/v1/search`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ index: "all", query: uri }),
    });
    const { rows, data } = (await response.json()) as { rows: number; data: { row: number; name: string }[] };
    assert.deepEqual([rows, data.length, data[0].row, data[0].name], [3, 3, 2, "red.png"]);
    const thumbnail = (place: string) => fetch(`${server.url}/v1/indexes/all/images/${place}`);
    for (const place of ["0-0", "1-0", "2-0"]) assert.equal((await thumbnail(place)).status, 200, place);
    assert.equal(await shard.end("SIGTERM"), 0);
    assert.equal((await thumbnail("2-0")).status, 502);
    assert.match(server.log(), /"msg":"shard"/);
  });

  it("SIGTERM: requests that are in work are answered, new ones are not taken, then it ends", async () => {
    const server = await start(["--max-delay", "700", "--drain", "3600"]);
    const answer = embed(server.url, "a");
    await sleep(200);
    const ended = server.end("SIGTERM");
    await sleep(100);
    await assert.rejects(fetch(`${server.url}/health/live`));
    assert.equal((await answer).status, 200);
    assert.equal(await ended, 0);
  });

  it("SIGTERM: a connection without a request does not hold it up", async () => {
    const server = await start();
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    const began = performance.now();
    assert.equal(await server.end("SIGTERM"), 0);
    assert.ok(performance.now() - began < 3000);
    socket.destroy();
  });

  it("SIGTERM: ends at the limit of time, with status 1, where a request does not come to its end", async () => {
    const server = await start(["--max-delay", "60000", "--drain", "0.3"]);
    const answer = embed(server.url, "a").catch(() => "cut");
    await sleep(200);
    const began = performance.now();
    assert.equal(await server.end("SIGTERM"), 1);
    assert.ok(performance.now() - began < 5000);
    assert.equal(await answer, "cut");
  });

  it("wrong arguments end it before a model is loaded", () => {
    for (const [args, message] of [
      [["--index", "http://localhost:1"], /--index http:\/\/localhost:1\/? needs a name: NAME=URL/],
      [["--index", "a/photos.npy", "--index", "b/photos.npy"], /two indexes are called photos/],
      [["--index", "constructor=missing.npy"], /missing\.npy/],
      [["--index-images", "x"], /--index-images x has no --index/],
      [["-m", "a=tiny", "-m", "a=tiny"], /two models are called a/],
      [["--index", "missing.npy"], /missing\.npy/],
      [["--port", "70000"], /must be a whole number/],
    ] as const) {
      const { status, stderr } = runNode([MAIN, "serve", ...args], {
        cwd: root,
        env: { TORCHCLIP_CACHE: cache },
      });
      assert.ok(status === 1 || status === 2, `${args.join(" ")}: ${status} ${stderr}`);
      assert.match(stderr, message);
    }
  });

  it("an address that is taken: an error that names it", async () => {
    const server = await start();
    const { port } = new URL(server.url);
    const { status, stderr } = runNode([MAIN, "serve", "--port", port], {
      cwd: root,
      env: { TORCHCLIP_CACHE: cache },
    });
    assert.equal(status, 2, stderr);
    assert.match(stderr, new RegExp(`cannot listen on 127.0.0.1, port ${port}`));
  });

  it("without its packages: the error names the command that installs them", () => {
    const hooks = `export async function resolve(name, context, next) {
      if (name !== "prom-client") return next(name, context);
      throw Object.assign(new Error("Cannot find package 'prom-client'"), { code: "ERR_MODULE_NOT_FOUND" });
    }`;
    const dataUrl = (code: string) => `data:text/javascript,${encodeURIComponent(code)}`;
    const register = `import { register } from "node:module"; register(${JSON.stringify(dataUrl(hooks))});`;
    const { status, stderr } = runNode(["--import", dataUrl(register), MAIN, "serve", "--port", "0"]);
    assert.equal(status, 1, stderr);
    assert.match(stderr, /E_PACKAGE_MISSING.*'prom-client'.*npm install fastify@\^5.*prom-client@\^15/);
  });
});
