import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import tar from "tar-stream";
import { unpacked } from "../../lib/datasets/clip-sets/archive.js";
import { DATASETS, loadDataset } from "../../lib/datasets/index.js";
import { load } from "../../lib/index.js";
import type { InstalledModel } from "../../lib/models/store/installed.js";
import { downloadFrom } from "../../lib/util/download.js";
import { HubRepository } from "../../lib/models/store/hub.js";
import { MODELS } from "../../lib/models/catalog/registry.js";
import { locateModel } from "../../lib/models/store/resolve.js";
import { addressesOf, hubServers, HUB, OPENAI, settings } from "../../lib/settings.js";
import { fakeHub, type FakeHub } from "../support/hub.js";
import { errorOf, rejectsWith, root, temporaryFolder, tinyModel } from "../support/index.js";
import { tinySafetensors, tinyTokenizer } from "../support/tiny.js";

const VARIABLES = [
  "TORCHCLIP_HUB_MIRROR",
  "TORCHCLIP_OPENAI_MIRROR",
  "TORCHCLIP_DATASET_MIRROR",
  "TORCHCLIP_MIRROR_FALLBACK",
  "HF_ENDPOINT",
] as const;

/** Runs `work` with these environment variables alone of those that name servers. */
async function withVariables<T>(
  values: Partial<Record<(typeof VARIABLES)[number], string>>,
  work: () => T | Promise<T>,
): Promise<T> {
  const before = VARIABLES.map((name) => process.env[name]);
  for (const name of VARIABLES) Reflect.deleteProperty(process.env, name);
  Object.assign(process.env, values);
  try {
    return await work();
  } finally {
    for (const name of VARIABLES) Reflect.deleteProperty(process.env, name);
    VARIABLES.forEach((name, i) => before[i] !== undefined && (process.env[name] = before[i]));
  }
}

const mirror = "http://mirror.test/base/";

describe("the addresses of a file", () => {
  const urls = {
    hub: `${HUB}/org/name/x`,
    openai: `${OPENAI}/clip/data/x.tgz`,
    other: "https://publisher.test/~me/x.tar.gz",
  };

  it("without a mirror: the original alone; HF_ENDPOINT stands for the hub", async () => {
    await withVariables({}, () => {
      for (const url of Object.values(urls))
        assert.deepEqual(addressesOf(url, settings()), [{ url, kind: "download" }]);
      assert.deepEqual(hubServers(settings()), [{ url: HUB, kind: "download" }]);
    });
    await withVariables({ HF_ENDPOINT: "http://hub.test/" }, () => {
      assert.deepEqual(addressesOf(urls.hub, settings()), [
        { url: "http://hub.test/org/name/x", kind: "download" },
      ]);
    });
  });

  it("a mirror is the only address, and serves the path of the original", async () => {
    const paths = { hub: "/org/name/x", openai: "/clip/data/x.tgz", other: "/~me/x.tar.gz" };
    const expected = (kind: keyof typeof urls) => [
      { url: `http://mirror.test/base${paths[kind]}`, kind: "mirror" },
    ];
    const variables = {
      hub: "TORCHCLIP_HUB_MIRROR",
      openai: "TORCHCLIP_OPENAI_MIRROR",
      other: "TORCHCLIP_DATASET_MIRROR",
    } as const;
    for (const kind of ["hub", "openai", "other"] as const) {
      await withVariables({}, () =>
        assert.deepEqual(addressesOf(urls[kind], settings({ mirror })), expected(kind)),
      );
      await withVariables({ [variables[kind]]: mirror }, () => {
        for (const [other, url] of Object.entries(urls)) {
          assert.deepEqual(
            addressesOf(url, settings()),
            other === kind ? expected(kind) : [{ url, kind: "download" }],
          );
        }
      });
    }
  });

  it("the original follows it where a fallback is asked for, by option or variable", async () => {
    const both = [
      { url: "http://mirror.test/base/clip/data/x.tgz", kind: "mirror" },
      { url: urls.openai, kind: "download" },
    ];
    await withVariables({}, () =>
      assert.deepEqual(addressesOf(urls.openai, settings({ mirror, mirrorFallback: true })), both),
    );
    await withVariables({ TORCHCLIP_MIRROR_FALLBACK: "1" }, () => {
      assert.deepEqual(addressesOf(urls.openai, settings({ mirror })), both);
      assert.equal(addressesOf(urls.openai, settings({ mirror, mirrorFallback: false })).length, 1);
      assert.deepEqual(
        hubServers(settings({ mirror })).map((server) => server.url),
        ["http://mirror.test/base", HUB],
      );
    });
  });
});

describe("mirrors", function () {
  this.timeout(120_000);
  let server: Server;
  let base: string;
  let archive: Buffer;
  const requests: string[] = [];
  before(async () => {
    const pack = tar.pack();
    pack.entry({ name: "set/a.txt" }, "content");
    pack.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of pack) chunks.push(chunk as Buffer);
    archive = Buffer.concat(chunks);
    server = createServer((request, response) => {
      requests.push(request.url ?? "");
      if (/\/set\.tar(\?|$)/.test(request.url ?? "")) response.end(archive);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  after(() => server.close());
  beforeEach(() => (requests.length = 0));

  const md5 = () => createHash("md5").update(archive).digest("hex");
  /** Its own server is never there. */
  const set = () => ({ url: "http://127.0.0.1:1/~publisher/set.tar", md5: md5(), probe: "set" });

  it("a data set comes from the mirror; its origin is remembered with the unpacked copy", async () => {
    const cacheDir = temporaryFolder();
    const first = await unpacked("set", set(), { cacheDir, mirror: base });
    assert.deepEqual(first.origin, {
      kind: "mirror",
      location: `${base}/~publisher/set.tar`,
      hashKnown: true,
    });
    assert.equal(readFileSync(join(first.folder, "set", "a.txt"), "utf8"), "content");
    assert.deepEqual(requests, ["/~publisher/set.tar"]);
    assert.deepEqual(await unpacked("set", set(), { cacheDir, offline: true }), first);
    writeFileSync(join(cacheDir, "datasets", "set.tar.origin.json"), "{");
    const { origin } = await unpacked("set", set(), { cacheDir, offline: true });
    assert.deepEqual(origin, {
      kind: "cache",
      location: join(cacheDir, "datasets", "set.tar"),
      hashKnown: false,
    });
  });

  it("a folder given as root has no known hash", async () => {
    const root = temporaryFolder();
    writeFileSync(join(root, "set"), "");
    assert.deepEqual((await unpacked("set", set(), { root })).origin, {
      kind: "root",
      location: root,
      hashKnown: false,
    });
  });

  it("every data set with a download asks the mirror, under the path of its publisher", async () => {
    const paths: Record<string, string> = {
      "rendered-sst2": "/clip/data/rendered-sst2.tgz",
      country211: "/clip/data/country211.tgz",
      cifar10: "/~kriz/cifar-10-binary.tar.gz",
      cifar100: "/~kriz/cifar-100-binary.tar.gz",
      mnist: "/mnist/t10k-images-idx3-ubyte.gz",
      stl10: "/~acoates/stl10/stl10_binary.tar.gz",
      food101: "/cvl/food-101.tar.gz",
      dtd: "/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
      "oxford-pets": "/~vgg/data/pets/data/images.tar.gz",
      flowers102: "/~vgg/data/flowers/102/102flowers.tgz",
      eurosat: "/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
      svhn: "/housenumbers/test_32x32.mat",
      sun397: "/projects/2010/SUN/SUN397.tar.gz",
    };
    const without =
      "rendered-demo scenes imagenet imagenet-v2 imagenet-a imagenet-r imagenet-o imagenet-sketch objectnet " +
      "caltech101 stanford-cars fgvc-aircraft voc2007 voc2007-multilabel gtsrb pcam resisc45 " +
      "clevr-counts clevr-distance kitti-distance";
    const names = [...Object.keys(paths), ...without.split(" ")].sort();
    assert.deepEqual(names, DATASETS.map((entry) => entry.name).sort());
    const documented = readFileSync(join(root, "docs", "settings.md"), "utf8");
    for (const [name, path] of Object.entries(paths)) {
      assert.ok(
        documented.includes(path.replace("t10k-images", "train-images")),
        `docs/settings.md lacks ${path}`,
      );
      requests.length = 0;
      const error = await rejectsWith(
        "E_DOWNLOAD",
        () => loadDataset(name, { cacheDir: temporaryFolder(), mirror: base }),
        name,
      );
      assert.deepEqual(requests, [path]);
      assert.match(error.message, /The mirror alone was asked; with --mirror-fallback/);
      assert.match(error.message, /--root/);
    }
    const { message } = await errorOf(() =>
      loadDataset("rendered-sst2", { cacheDir: temporaryFolder(), mirror: base }),
    );
    assert.match(
      message,
      /`--dataset "https:\/\/huggingface\.co\/\S+\/test\/\{0\.\.3\}\.tar" --classes negative,positive`/,
    );
  });

  it("a fallback that is asked for is told, and the origin says what was used", async () => {
    const notes: string[] = [];
    const target = join(temporaryFolder(), "set.tar");
    const addresses = [
      { url: `${base}/gone`, kind: "mirror" as const },
      { url: `${base}/set.tar?key=secret`, kind: "download" as const },
    ];
    const origin = await downloadFrom(addresses, {
      target,
      hash: `md5:${md5()}`,
      onNote: (text) => notes.push(text),
    });
    assert.deepEqual(origin, { kind: "download", location: `${base}/set.tar?…`, hashKnown: true });
    assert.equal(notes.length, 1);
    assert.match(notes[0], /gone: HTTP 404.*Now .*set\.tar.* is asked/);
    assert.doesNotMatch(notes[0], /secret/);
    const unknown = await downloadFrom([addresses[1]], { target: `${target}.other` });
    assert.equal(unknown.hashKnown, false);
  });

  it("OpenAI's weights: the mirror alone is asked, and the error names the same weights on the hub", async () => {
    const openai = MODELS.flatMap(({ origin }) => (origin.kind === "file" ? [origin.file] : []));
    assert.equal(openai.length, 9);
    assert.ok(openai.every(({ hub }) => /^timm\/\w+_clip(_\d+)?\.openai$/.test(hub ?? "")));
    const error = await rejectsWith("E_DOWNLOAD", () =>
      load("ViT-B/32", { cacheDir: temporaryFolder(), mirror: base }),
    );
    assert.match(
      error.message,
      /on the hub as timm\/vit_base_patch32_clip_224\.openai: `--model timm\/vit_base_patch32_clip_224\.openai`/,
    );
    assert.ok(requests.length === 1 && requests[0].startsWith("/clip/models/40d3657"), requests.join());
  });
});

describe("where a model's weights came from", function () {
  this.timeout(120_000);
  const repo = "someone/some-clip";
  let hub: FakeHub;
  let other: FakeHub;
  before(async () => {
    const config = {
      vision_config: { hidden_act: "quick_gelu", num_attention_heads: 4 },
      text_config: { num_attention_heads: 2 },
    };
    const files = {
      "config.json": Buffer.from(JSON.stringify(config)),
      "tokenizer.json": Buffer.from(await tinyTokenizer()),
      "model.safetensors": await tinySafetensors(),
    };
    hub = await fakeHub(repo, files);
    other = await fakeHub("someone/else", files);
  });
  after(() => {
    hub.close();
    other.close();
  });

  it("a mirror that fails is the only server that is asked", async () => {
    await withVariables({ HF_ENDPOINT: hub.url }, async () => {
      const error = await rejectsWith("E_MODEL_NOT_FOUND", () =>
        load(repo, { cacheDir: temporaryFolder(), mirror: other.url }),
      );
      assert.match(error.message, /The mirror alone was asked; with --mirror-fallback/);
      assert.deepEqual(hub.requests, []);
    });
  });

  it("with mirrorFallback the hub follows; a note and the origin say so, now and when it is installed", async () => {
    await withVariables({ HF_ENDPOINT: hub.url }, async () => {
      const cacheDir = temporaryFolder();
      const notes: string[] = [];
      const clip = await load(repo, {
        cacheDir,
        mirror: other.url,
        mirrorFallback: true,
        onNote: (text) => notes.push(text),
      });
      const expected = {
        kind: "download",
        location: `${hub.url}/${repo}/resolve/${hub.commit}/model.safetensors`,
        hub: `${repo}@${hub.commit}`,
        hashKnown: true,
      };
      assert.deepEqual(clip.info.origin, expected);
      await clip.close();
      assert.equal(notes.length, 1, notes.join("\n"));
      assert.ok(notes[0].includes(`Now ${hub.url}/ is asked`), notes[0]);
      assert.deepEqual((await locateModel(repo, { cacheDir, offline: true })).origin, expected);

      const list = join(cacheDir, "models.json");
      const installed = JSON.parse(readFileSync(list, "utf8")) as Record<string, InstalledModel>;
      delete installed[repo].origin; // as an earlier version wrote it
      writeFileSync(list, JSON.stringify(installed));
      const { origin } = await locateModel(repo, { cacheDir, offline: true });
      assert.deepEqual([origin.kind, origin.hashKnown, existsSync(origin.location)], ["cache", false, true]);
    });
  });

  it("from a mirror, from the cache alone, from a path, from the package", async () => {
    const cacheDir = temporaryFolder();
    const mirrored = (await locateModel(repo, { cacheDir, mirror: hub.url })).origin;
    assert.deepEqual(
      [mirrored.kind, mirrored.location.startsWith(hub.url), mirrored.hashKnown],
      ["mirror", true, true],
    );
    const cached = (await locateModel(repo, { cacheDir, offline: true, refresh: true })).origin;
    assert.deepEqual([cached.kind, cached.hub, cached.hashKnown], ["cache", `${repo}@${hub.commit}`, true]);
    assert.ok(existsSync(cached.location));
    const weights = join(cacheDir, "model.safetensors");
    writeFileSync(weights, await tinySafetensors());
    writeFileSync(join(cacheDir, "tokenizer.json"), await tinyTokenizer());
    assert.deepEqual((await locateModel(cacheDir, { cacheDir })).origin, {
      kind: "path",
      location: weights,
      hashKnown: false,
    });
    assert.deepEqual((await locateModel(tinyModel)).origin, {
      kind: "path",
      location: tinyModel,
      hashKnown: false,
    });
    assert.deepEqual((await locateModel("tiny")).origin, {
      kind: "package",
      location: "models/tiny.pt",
      hashKnown: false,
    });
  });

  it("a file of the cache is used where the hub fails, and a note says so", async () => {
    const cacheDir = temporaryFolder();
    await locateModel(repo, { cacheDir, mirror: hub.url });
    const notes: string[] = [];
    const failing = new HubRepository({ repo, revision: "main" }, settings({ cacheDir, mirror: other.url }), {
      onNote: (text) => notes.push(text),
    });
    const file = await failing.file("config.json");
    assert.ok(file && existsSync(file));
    assert.match(
      notes.join("\n"),
      /some-clip\/config\.json is taken from the cache, which may be older: .*no such repository/,
    );
  });
});
