import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import sharp from "sharp";
import { root, temporaryFolder } from "../support/index.js";
import { commandLineBeside } from "../support/process.js";

interface Found {
  query: string;
  hits: { rank: number; row: number; name: string; score: number }[];
}

describe("torchclip search", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  const images = join(folder, "images");
  const npy = join(folder, "a.npy");
  const parquet = join(folder, "a.parquet");
  let server: Server;
  let site: string;

  const cli = commandLineBeside(join(folder, "cache"));

  /** What a search that has to succeed finds. */
  async function search(...args: string[]): Promise<{ found: Found[]; stderr: string }> {
    const { status, stdout, stderr } = await cli("search", ...args, "--json");
    assert.equal(status, 0, stderr);
    return { found: JSON.parse(stdout) as Found[], stderr };
  }

  async function fails(status: number, message: RegExp, ...args: string[]): Promise<void> {
    const result = await cli("search", ...args);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, message);
    assert.equal(result.stdout, "");
  }

  before(async () => {
    mkdirSync(images);
    for (const [i, background] of ["red", "lime", "blue"].entries()) {
      const image = sharp({ create: { width: 40, height: 30, channels: 3, background } });
      await image.png().toFile(join(images, `${i}.png`));
    }
    writeFileSync(join(images, "bad.png"), "not an image");
    server = createServer((_, response) => response.end(readFileSync(join(images, "1.png"))));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    site = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    assert.equal((await cli("embed", images, "-o", npy, "-m", "tiny")).status, 3);
    assert.equal((await cli("embed", images, "-o", parquet, "-m", join("models", "tiny.pt"))).status, 3);
  });
  after(() => server.close());

  it(".npy and .parquet: the same hits, by the index's own model; a failed image is never one", async () => {
    const queries = ["a red circle", join(images, "2.png"), "-k", "10"];
    const [one, two] = [await search(npy, ...queries), await search(parquet, ...queries)];
    assert.deepEqual(two.found, one.found);
    const names = ({ hits }: Found) => hits.map(({ name }) => name).sort();
    for (const found of one.found) assert.deepEqual(names(found), ["0.png", "1.png", "2.png"]);
    assert.equal(one.found[1].hits[0].name, "2.png");
    assert.ok(one.found[1].hits[0].score > 0.9999, `the score: ${one.found[1].hits[0].score}`);
    assert.match(one.stderr, /^Model: tiny, which .*a\.npy\.json names\.$/m);
    const path = join(root, "models", "tiny.pt");
    assert.ok(two.stderr.includes(`Model: ${path}, which ${parquet} names.`), "a path holds in every folder");
    assert.doesNotMatch(one.stderr, /toy/, "the default of the other commands is not taken");
  });

  it("another model than the index's: E_ARGUMENT names both, with --force a note does", async () => {
    const other = join(folder, "other.npy");
    copyFileSync(npy, other);
    const about = JSON.parse(readFileSync(`${npy}.json`, "utf8")) as { model: { weights: object } };
    const hash = "0123456789ab".padEnd(64, "0");
    const model = { ...about.model, requested: "ViT-X", weights: { ...about.model.weights, sha256: hash } };
    writeFileSync(`${other}.json`, JSON.stringify({ ...about, model }));
    const both =
      /E_ARGUMENT: .*other\.npy was embedded with ViT-X \(.*0123456789ab….*, not with tiny \(.*--force/;
    await fails(2, both, other, "a red circle", "-m", "tiny");
    const { found, stderr } = await search(other, "a red circle", "-m", "tiny", "--force");
    assert.equal(found[0].hits.length, 3);
    assert.match(stderr, /^Note: .*ViT-X.*not with tiny/m);
    const absent = /E_MODEL_NOT_FOUND: the model that made .*other\.npy is not here: .*ViT-X.*--model/;
    await fails(1, absent, other, "a red circle");
    const same = await search(parquet, "a red circle", "-m", "tiny");
    assert.doesNotMatch(same.stderr, /Note|Model/);
  });

  it("an index that does not say its model needs --model, and has numbers for names", async () => {
    const bare = join(folder, "bare.npy");
    copyFileSync(npy, bare);
    const unknown = /E_ARGUMENT: which model made .*bare\.npy is not known.*bare\.npy\.json.*--model/;
    await fails(2, unknown, bare, "a red circle");
    const { found } = await search(bare, "a red circle", "-m", "tiny", "-k", "1");
    assert.match(found[0].hits[0].name, /^row \d$/);
    await fails(2, /E_ARGUMENT: --trust-code .*--model/, npy, "a red circle", "--trust-code");
  });

  it("a path where nothing is fails and is never a text, unless --text says so", async () => {
    const missing = join(images, "none.jpg");
    await fails(
      1,
      /E_IMAGE_READ: cannot read .*none\.jpg: no such file.*--text/,
      npy,
      "a red circle",
      missing,
    );
    const { found } = await search(npy, "red.jpg", "a/b", "./LICENSE", "--text");
    assert.deepEqual(
      found.map(({ hits }) => hits.length),
      [3, 3, 3],
    );
    await fails(1, /E_IMAGE_READ: .*images: it is a directory/, npy, images);
  });

  it("the URL of an image", async () => {
    const { found } = await search(npy, `${site}/a.png`, "--allow-private");
    assert.equal(found[0].hits[0].name, "1.png");
    await fails(1, /E_IMAGE_READ: .*URLs are not read/, npy, `${site}/a.png`, "--no-urls");
  });
});
