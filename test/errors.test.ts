import assert from "node:assert/strict";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import * as datasets from "../lib/datasets/index.js";
import { embedImages, embedTexts } from "../lib/embed/embed.js";
import { imageSource } from "../lib/embed/sources.js";
import { ERROR_CODES, toTorchclipError } from "../lib/errors.js";
import * as evaluation from "../lib/eval/index.js";
import * as torchclip from "../lib/index.js";
import { importModel, load, type Clip } from "../lib/index.js";
import { findSource } from "../lib/models/import/source.js";
import { readGoldens } from "../lib/models/store/goldens.js";
import { removeModel, verifyModel } from "../lib/models/store/installed.js";
import { modelSettings, resolveModel } from "../lib/models/store/resolve.js";
import { root, temporaryFolder, tinyModel } from "./support/index.js";
import { tinyTokenizer } from "./support/tiny.js";

describe("errors", () => {
  const folder = temporaryFolder();
  const plain = join(folder, "plain.txt");
  const tokenizer = join(folder, "tokenizer.json");
  let clip: Clip;
  let server: Server;
  let mirror: string;
  before(async () => {
    writeFileSync(plain, "plain\n");
    writeFileSync(tokenizer, await tinyTokenizer());
    mkdirSync(join(folder, "empty"));
    mkdirSync(join(folder, "set", "a"), { recursive: true });
    writeFileSync(join(folder, "set", "a", "x.png"), "no image");
    symlinkSync("loop", join(folder, "loop"));
    server = createServer((request, response) =>
      request.url?.includes("cut") ? request.socket.destroy() : response.writeHead(500).end("no"),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    mirror = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    clip = await load(tinyModel, { device: "cpu", threads: 1 });
  });
  after(async () => {
    server.close();
    await clip.close();
  });

  it("docs/errors.md lists exactly the codes that there are", () => {
    const text = readFileSync(join(root, "docs/errors.md"), "utf8");
    const listed = [...text.matchAll(/^\| `(E_\w+)` \|/gm)].map((m) => m[1]);
    assert.deepEqual(listed.sort(), [...ERROR_CODES].sort());
  });

  it("errors of the operating system say why", () => {
    const error = toTorchclipError(
      Object.assign(new Error("x"), { code: "EMFILE", errno: -24, syscall: "open", path: "/a" }),
    );
    assert.equal(error.code, "E_READ");
    assert.match(error.message, /cannot read \/a: too many open files in this process \(EMFILE\)/);
    assert.equal(
      toTorchclipError(Object.assign(new Error("x"), { code: "E_NO_SUCH_CODE" })).code,
      "E_INTERNAL",
    );
  });

  /** Paths that cannot be read, each in another way. EACCES does not happen to root. */
  const unreadable = (): string[] => [
    join(folder, "none"),
    join(plain, "below"),
    join(folder, "empty"),
    join(folder, "loop"),
    join(folder, "n".repeat(300)),
    "with\0zero",
    "/proc/self/mem",
    plain,
    "",
  ];
  const unwritable = (): string[] => [
    join(plain, "below", "x.npy"),
    join(folder, "n".repeat(300)),
    "/proc/none/x.npy",
    "with\0zero.npy",
  ];
  const wrong = [undefined, null, 7, NaN, {}, [], () => undefined];

  /** Calls `work` and checks its error, if there is one; returns how many there were. */
  async function check(what: string, work: () => unknown): Promise<{ failed: boolean; wrong?: string }> {
    try {
      await work();
      return { failed: false };
    } catch (error) {
      const { code, name, message } = error as torchclip.TorchclipError;
      const documented =
        error instanceof torchclip.TorchclipError && (ERROR_CODES as readonly string[]).includes(code);
      // A walk makes no defect of torchclip: that code would hide one.
      return {
        failed: true,
        wrong: documented && code !== "E_INTERNAL" ? undefined : `${what}: ${name} ${code} ${message}`,
      };
    }
  }

  /** All of `calls` with all of `inputs`; each call must have failed at least once. */
  async function walk(calls: Record<string, (input: never) => unknown>, inputs: unknown[]): Promise<void> {
    const wrongs: string[] = [];
    for (const [name, call] of Object.entries(calls)) {
      let failures = 0;
      for (const input of inputs) {
        const shown = typeof input === "string" ? input.slice(0, 60) : String(input);
        const { failed, wrong } = await check(`${name}(${shown})`, () => call(input as never));
        failures += Number(failed);
        if (wrong) wrongs.push(wrong);
      }
      if (failures === 0) wrongs.push(`${name} never failed`);
    }
    assert.deepEqual(wrongs, []);
  }

  const offline = { offline: true, cacheDir: join(folder, "cache") };
  const reading: Record<string, (path: string) => unknown> = {
    load: async (path) => (await load(path, offline)).close(),
    findSource: async (path) => importModel(await findSource(path), join(folder, "o.pt")),
    importModel: (path) => importModel({ weights: path }, join(folder, "o.pt")),
    "importModel, config": (path) =>
      importModel({ weights: tinyModel, config: path, tokenizer: path }, join(folder, "o.pt")),
    "EmbeddingIndex.open": (path) => torchclip.EmbeddingIndex.open(path),
    loadDataset: (path) => datasets.loadDataset(path, offline),
    "loadDataset, list": (path) => datasets.loadDataset(`${path}.csv`, offline),
    "loadDataset, tar": (path) => datasets.loadDataset(`${path}.tar`, offline),
    "loadDataset, root": (path) => datasets.loadDataset("cifar10", { root: path, ...offline }),
    readSentences: (path) => datasets.readSentences(path),
    imageSource: (path) => imageSource(path),
    "embedImages of a list": async (path) =>
      embedImages(clip, await imageSource(`${path}.txt`), join(folder, "e.npy"), { input: "x" }),
    encodeImages: (path) => clip.encodeImages([path]),
    classify: (path) => clip.classify(path, ["a", "b"]),
    preprocess: (path) => clip.preprocess([path]),
    verifyModel: (path) => verifyModel(path, modelSettings(offline)),
    removeModel: (path) => removeModel(path, modelSettings(offline)),
  };

  it("of files that cannot be read", async () => {
    await walk(reading, unreadable());
    assert.equal((await check("readGoldens", () => readGoldens(join(folder, "empty")))).wrong, undefined);
  });

  it("of files that cannot be written: E_WRITE", async () => {
    const index = torchclip.EmbeddingIndex.create(2);
    await index.add({ data: new Float32Array(2), rows: 1, dim: 2 });
    const source = await imageSource(join(folder, "set"));
    const writing: Record<string, (path: string) => unknown> = {
      "index.save": (path) => index.save(path),
      embedImages: (path) => embedImages(clip, source, path.replace(/(\.npy)?$/, ".npy"), { input: "x" }),
      embedTexts: (path) => embedTexts(clip, ["a"], path.replace(/(\.npy)?$/, ".npy"), { input: "x" }),
      importModel: (path) =>
        importModel({ weights: tinyModel, tokenizer }, path, { activation: "quick_gelu" }),
      renderFolder: (path) => datasets.renderFolder([{ text: "a", label: 0 }], path),
      "journal of zeroShot": async (path) =>
        evaluation.zeroShot(clip, await datasets.loadDataset(join(folder, "set")), { journal: path }),
      "cache of rendered-demo": (path) => datasets.loadDataset("rendered-demo", { cacheDir: path }),
      "cache of cifar10": (path) => datasets.loadDataset("cifar10", { cacheDir: path }),
    };
    await walk(writing, unwritable());
    for (const [name, call] of Object.entries(writing)) {
      const error = await Promise.resolve(call(unwritable()[0])).catch((e: unknown) => e);
      assert.equal((error as { code?: string }).code, "E_WRITE", `${name}: ${String(error)}`);
    }
  });

  it("of networks that fail", async () => {
    const cacheDir = join(folder, "cache2");
    const networks: Record<string, (url: string) => unknown> = {
      load: (url) => load("someone/some-clip", { mirror: url, cacheDir }),
      "load by OpenAI's name": (url) => resolveModel("RN50", { mirror: url, cacheDir, offline: url === "" }),
      encodeImages: (url) => clip.encodeImages([`${url}/a.png`]),
      "loadDataset, tar": (url) => datasets.loadDataset(`${url}/a.tar`, { cacheDir }),
    };
    // A mirror is the only address that is asked: no official one is.
    await walk(networks, [
      mirror,
      `${mirror}/cut`,
      "http://127.0.0.1:1",
      "http://no-such-host.invalid",
      "http://[",
    ]);
  });

  it("of wrong inputs", async () => {
    const index = torchclip.EmbeddingIndex.create(2);
    await index.add({ data: new Float32Array(2), rows: 1, dim: 2 });
    const set = await datasets.loadDataset(join(folder, "set"));
    // Of what is no export of the package, the callers are ours.
    const exported = Object.fromEntries(
      Object.entries(reading).filter(([name]) => !/findSource|imageSource|list|tar|verify|remove/.test(name)),
    );
    await walk(
      {
        ...exported,
        "load, options": (x) => load(tinyModel, { device: x, precision: x, threads: x }),
        encodeImages: (x) => clip.encodeImages(x),
        "encodeImages, item": (x) => clip.encodeImages([x]),
        "encodeImages, batchSize": (x: unknown) =>
          clip.encodeImages([], { batchSize: (x === undefined ? -1 : x) as number }),
        encodeTexts: (x) => clip.encodeTexts(x),
        "encodeTexts, item": (x) => clip.encodeTexts([x]),
        encodeTokens: (x) => clip.encodeTokens({ data: x, rows: 1, length: 1, truncated: [] }),
        encodePixels: (x) => clip.encodePixels({ data: x, rows: 1, height: 1, width: 1 }),
        encodeClasses: (x) => clip.encodeClasses(x, ["{}"]),
        tokenize: (x) => clip.tokenize(x),
        classify: (x) => clip.classify(x, x),
        "index.create": (x) => torchclip.EmbeddingIndex.create(x),
        "index.add": (x) => index.add(x),
        "index.search": (x) => index.search(x, 1),
        "index.vector": (x) => index.vector(x),
        "index.save": (x) => index.save(x),
        "clip.index": (x: unknown) => clip.index((x ?? []) as torchclip.Embeddings),
        zeroShot: (x: unknown) => evaluation.zeroShot(clip, set, { classNames: (x ?? []) as string[] }),
        "dataset.at": (x) => set.at(x),
      },
      wrong,
    );
  });
});
