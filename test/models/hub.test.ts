import assert from "node:assert/strict";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { load } from "../../lib/index.js";
import { parseHubId } from "../../lib/models/catalog/hub-id.js";
import {
  installedModel,
  installedModels,
  removeModel,
  verifyModel,
} from "../../lib/models/store/installed.js";
import { modelSettings } from "../../lib/models/store/resolve.js";
import { assertMissing, errorOf, rejectsWith, temporaryFolder, tinyModel } from "../support/index.js";
import { deadTemporaryName } from "../support/process.js";
import { fakeHub, type FakeHub } from "../support/hub.js";
import { tinySafetensors, tinyTokenizer } from "../support/tiny.js";

const config = {
  vision_config: { hidden_act: "quick_gelu", num_attention_heads: 4 },
  text_config: { num_attention_heads: 2 },
};

describe("the hub", () => {
  let files: Record<string, Buffer>;
  let hub: FakeHub | undefined;
  const repo = "someone/some-clip";
  before(async () => {
    files = {
      "config.json": Buffer.from(JSON.stringify(config)),
      "tokenizer.json": Buffer.from(await tinyTokenizer()),
      "model.safetensors": await tinySafetensors(),
    };
  });
  afterEach(() => hub?.close());

  it("ids: org/name, a revision, hf-hub:, and what is none", () => {
    assert.deepEqual(parseHubId("a/b"), { repo: "a/b", revision: "main" });
    assert.deepEqual(parseHubId("hf-hub:a/b.c@refs/pr/3"), { repo: "a/b.c", revision: "refs/pr/3" });
    for (const none of ["a", "../b", "a/..", "a/b/c", "a/b@../x", "/a/b"])
      assert.equal(parseHubId(none), undefined, none);
  });

  it("fetches what an import reads, once, into the layout that Python shares; then needs no network", async () => {
    hub = await fakeHub(repo, files);
    const cacheDir = temporaryFolder();
    const snapshot = join(cacheDir, "hub", "models--someone--some-clip", "snapshots", hub.commit);
    mkdirSync(snapshot, { recursive: true });
    writeFileSync(join(snapshot, deadTemporaryName("model.safetensors")), ""); // of a process that was killed
    const first = await load(repo, { cacheDir, mirror: hub.url });
    await first.close();
    assert.deepEqual(readdirSync(snapshot).sort(), Object.keys(files).sort());
    assert.deepEqual(
      hub.requests.filter((r) => r.startsWith("GET")),
      ["GET config.json", "GET model.safetensors", "GET tokenizer.json"],
    );
    const folder = join(cacheDir, "hub", "models--someone--some-clip");
    assert.equal(readFileSync(join(folder, "refs", "main"), "utf8"), hub.commit);
    const link = join(folder, "snapshots", hub.commit, "model.safetensors");
    assert.ok(lstatSync(link).isSymbolicLink());
    assert.match(readlinkSync(link), /^\.\.\/\.\.\/blobs\/[0-9a-f]{64}$/);
    assert.deepEqual(readFileSync(link), files["model.safetensors"]);
    assert.ok(readdirSync(join(folder, "blobs")).every((name) => /^([0-9a-f]{64}|[0-9a-f]{40})$/.test(name)));
    hub.close();
    const second = await load(repo, { cacheDir, offline: true });
    const tiny = await load(tinyModel);
    assert.deepEqual(
      (await second.encodeTexts(["a red circle"])).data,
      (await tiny.encodeTexts(["a red circle"])).data,
    );
    await Promise.all([second.close(), tiny.close()]);
  });

  it("both configs of the image processor are fetched, and that of processor_config.json counts", async () => {
    const usual = {
      image_processor_type: "CLIPImageProcessor",
      size: { shortest_edge: 224 },
      crop_size: 224,
      image_mean: 0.5,
    };
    const nested = {
      processor_class: "CLIPProcessor",
      image_processor: { ...usual, image_mean: [0.1, 0.2, 0.3] },
    };
    const of = (json: object) => Buffer.from(JSON.stringify(json));
    hub = await fakeHub(repo, {
      ...files,
      "preprocessor_config.json": of(usual),
      "processor_config.json": of(nested),
    });
    const clip = await load(repo, { cacheDir: temporaryFolder(), mirror: hub.url });
    assert.deepEqual(clip.info.config.preprocessing.mean, [0.1, 0.2, 0.3]);
    await clip.close();
  });

  it("what is in the cache is not downloaded again", async () => {
    hub = await fakeHub(repo, files);
    const cacheDir = temporaryFolder();
    await (await load(repo, { cacheDir, mirror: hub.url })).close();
    hub.requests.length = 0;
    await (await load(repo, { cacheDir, mirror: hub.url, refresh: true })).close();
    assert.ok(
      hub.requests.length > 0 && hub.requests.every((r) => r.startsWith("HEAD")),
      hub.requests.join(),
    );
  });

  it("a gated repository needs a token, which the store of large files never sees", async () => {
    hub = await fakeHub(repo, files, { gated: true });
    const cacheDir = temporaryFolder();
    const error = await rejectsWith("E_DOWNLOAD", () => load(repo, { cacheDir, mirror: hub!.url }));
    assert.match(error.message, /licence has to be accepted.*HF_TOKEN/);
    process.env.HF_TOKEN = "hf_secret";
    process.env.HF_ENDPOINT = hub.url;
    try {
      await (await load(repo, { cacheDir })).close();
    } finally {
      delete process.env.HF_TOKEN;
      delete process.env.HF_ENDPOINT;
    }
    assert.ok(hub.tokens.has("Bearer hf_secret"));
    assert.ok(hub.tokens.has("store -") && !hub.tokens.has("store Bearer hf_secret"));
  });

  it("a mirror never sees the token, and no message holds the credentials of its URL", async () => {
    hub = await fakeHub(repo, files);
    const { port } = new URL(hub.url);
    process.env.HF_TOKEN = "hf_secret";
    process.env.HF_ENDPOINT = `http://localhost:${port}`; // the same server by another name: another origin
    try {
      await (await load(repo, { cacheDir: temporaryFolder(), mirror: hub.url })).close();
      assert.deepEqual([...hub.tokens].sort(), ["store -", undefined]);
      const notes: string[] = [];
      const at = {
        cacheDir: temporaryFolder(),
        mirrorFallback: true,
        onNote: (text: string) => void notes.push(text),
      };
      const error = await rejectsWith("E_DOWNLOAD", () =>
        load("no/body", { ...at, mirror: `http://user:pa55word@127.0.0.1:${port}/?key=pa55word` }),
      );
      assert.doesNotMatch(inspect(error), /pa55word/);
      assert.ok(notes.length > 0, `notes.length: ${notes.length}`);
      assert.doesNotMatch(notes.join(), /pa55word/);
      assert.ok(hub.tokens.has("Bearer hf_secret")); // asked after the mirror
    } finally {
      delete process.env.HF_TOKEN;
      delete process.env.HF_ENDPOINT;
    }
  });

  it("bytes that do not match the etag: E_HASH_MISMATCH, nothing stays", async () => {
    hub = await fakeHub(repo, files, { wrong: "model.safetensors" });
    const cacheDir = temporaryFolder();
    await rejectsWith("E_HASH_MISMATCH", () => load(repo, { cacheDir, mirror: hub!.url }));
    const folder = join(cacheDir, "hub", "models--someone--some-clip");
    assertMissing(join(folder, "snapshots", hub.commit, "model.safetensors"));
    assert.deepEqual(
      readdirSync(join(folder, "blobs")).filter((name) => name.length !== 40),
      [],
    );
  });

  it("a revision and a repository that are not there are named", async () => {
    hub = await fakeHub(repo, files);
    const at = { cacheDir: temporaryFolder(), mirror: hub.url };
    process.env.HF_ENDPOINT = hub.url;
    try {
      assert.match((await errorOf(() => load(`${repo}@v9`, at))).message, /no such revision/);
      assert.match((await errorOf(() => load("no/body", at))).message, /no such repository/);
    } finally {
      delete process.env.HF_ENDPOINT;
    }
  });

  it("shards named by an index are fetched with it", async () => {
    const whole = files["model.safetensors"];
    const header = JSON.parse(whole.subarray(8, 8 + Number(whole.readBigUInt64LE(0))).toString()) as Record<
      string,
      unknown
    >;
    const names = Object.keys(header).filter((n) => n !== "__metadata__");
    const index = { weight_map: Object.fromEntries(names.map((n) => [n, "part-1.safetensors"])) };
    const rest = Object.fromEntries(Object.entries(files).filter(([name]) => name !== "model.safetensors"));
    hub = await fakeHub(repo, {
      ...rest,
      "model.safetensors.index.json": Buffer.from(JSON.stringify(index)),
      "part-1.safetensors": whole,
    });
    await (await load(repo, { cacheDir: temporaryFolder(), mirror: hub.url })).close();
    assert.ok(hub.requests.includes("GET part-1.safetensors"));
    hub.close();
    hub = await fakeHub(repo, {
      ...rest,
      "model.safetensors.index.json": Buffer.from('{"weight_map": {"a": "../../x"}}'),
    });
    assert.match(
      (await errorOf(() => load(repo, { cacheDir: temporaryFolder(), mirror: hub!.url }))).message,
      /outside the model/,
    );
  });

  it("installed models: listed, verified, damaged, removed", async () => {
    hub = await fakeHub(repo, files);
    const cacheDir = temporaryFolder();
    const at = modelSettings({ cacheDir });
    await (await load(repo, { cacheDir, mirror: hub.url })).close();
    assert.deepEqual(Object.keys(await installedModels(at)), [repo]);
    assert.equal((await verifyModel(repo, at)).length, 2); // the artifact and the large file
    const { artifact, files: parts } = await installedModel(repo, at);
    const bytes = readFileSync(artifact);
    bytes[bytes.length >> 1] ^= 1;
    writeFileSync(artifact, bytes);
    await rejectsWith("E_MODEL_CORRUPT", () => verifyModel(repo, at));
    await removeModel(repo, at, { weights: true });
    assert.ok(!existsSync(artifact) && parts.every((file) => !existsSync(file)));
    assert.deepEqual(readdirSync(join(cacheDir, "hub", "models--someone--some-clip", "blobs")), []);
    await rejectsWith("E_MODEL_NOT_FOUND", () => installedModel(repo, at));
  });
});
