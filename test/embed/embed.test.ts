import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parquetReadObjects, asyncBufferFromFile } from "hyparquet";
import sharp from "sharp";
import tar from "tar-stream";
import { EmbeddingIndex, load } from "../../lib/index.js";
import { assertCosine } from "../support/compare.js";
import { assertMissing, temporaryFolder, tinyModel } from "../support/index.js";
import { MAIN, runNode } from "../support/process.js";

const cli = (...args: string[]) => runNode([MAIN, ...args]);

async function makeImages(folder: string, count: number): Promise<void> {
  mkdirSync(join(folder, "sub"), { recursive: true });
  for (let i = 0; i < count; i++) {
    const background = { r: (i * 37) % 256, g: (i * 91) % 256, b: (i * 53) % 256 };
    await sharp({ create: { width: 40 + (i % 7), height: 30, channels: 3, background } })
      .png()
      .toFile(join(folder, i % 2 ? "sub" : "", `${String(i).padStart(3, "0")}.png`));
  }
}

describe("embed and search", function () {
  this.timeout(120_000);
  let folder: string;
  before(async () => {
    folder = join(temporaryFolder(), "images");
    await makeImages(folder, 40);
  });

  it("a folder with a bad image to .npy and .parquet: the same rows, the error told, its row NaN", async () => {
    const work = temporaryFolder();
    const input = join(work, "in");
    cpSync(folder, input, { recursive: true });
    writeFileSync(join(input, "zz.png"), "no image");
    const npy = cli("embed", input, "-o", join(work, "a.npy"), "-m", tinyModel);
    assert.equal(npy.status, 3, `finished with a failed item: ${npy.stderr}`);
    assert.match(npy.stderr, /row 40: E_IMAGE_DECODE.*zz\.png/);
    assert.match(
      npy.stdout,
      /^41 rows of 192 .*, 1 of them failed \(NaN\).* slowest stage: (read|decode|resize|forward)/,
    );
    const about = JSON.parse(readFileSync(join(work, "a.npy.json"), "utf8")) as {
      names: string[];
      errors: { index: number }[];
    };
    assert.equal(about.names[40], "zz.png");
    assert.deepEqual(
      about.errors.map((e) => e.index),
      [40],
    );
    assertMissing(join(work, "a.npy.partial"));
    assert.equal(cli("embed", input, "-o", join(work, "a.parquet"), "-m", tinyModel).status, 3);
    const rows = await parquetReadObjects({ file: await asyncBufferFromFile(join(work, "a.parquet")) });
    const index = await EmbeddingIndex.open(join(work, "a.npy"));
    assert.deepEqual(Float32Array.from(rows[5].embedding as number[]), index.vector(5));
    assert.equal(rows[5].name, about.names[5]);
    assert.match(rows[40].error as string, /^E_IMAGE_DECODE/);
    assert.equal(rows[5].error, null);
    const found = cli(
      "search",
      join(work, "a.npy"),
      join(input, about.names[3]),
      "-k",
      "2",
      "-m",
      tinyModel,
      "--json",
      "--sheet",
      join(work, "s.html"),
    );
    assert.equal(found.status, 0, found.stderr);
    const [{ hits }] = JSON.parse(found.stdout) as { hits: { name: string; score: number }[] }[];
    assert.equal(hits[0].name, about.names[3]);
    assert.ok(hits[0].score > 0.9999, `the score: ${hits[0].score}`);
    assert.match(readFileSync(join(work, "s.html"), "utf8"), /data:image\/webp/);
  });

  it("a .tar and a list give the folder's embeddings; texts too", async () => {
    const work = temporaryFolder();
    const pack = tar.pack();
    pack.entry({ name: "a.png" }, readFileSync(join(folder, "000.png")));
    pack.entry({ name: "note.txt" }, "no image");
    pack.entry({ name: "b.png" }, readFileSync(join(folder, "002.png")));
    pack.finalize();
    const chunks: Buffer[] = [];
    for await (const c of pack) chunks.push(c as Buffer);
    writeFileSync(join(work, "x.tar"), Buffer.concat(chunks));
    writeFileSync(join(folder, "list.csv"), "path,label\n000.png,1\n002.png,2\n");
    writeFileSync(join(work, "t.txt"), "a cat\na dog\n");
    for (const [name, ...args] of [
      ["tar", join(work, "x.tar")],
      ["csv", join(folder, "list.csv")],
      ["texts", "--texts", join(work, "t.txt")],
    ]) {
      const r = cli("embed", ...args, "-o", join(work, `${name}.npy`), "-m", tinyModel);
      assert.equal(r.status, 0, r.stderr);
    }
    assert.deepEqual(readFileSync(join(work, "tar.npy")), readFileSync(join(work, "csv.npy")));
    assert.equal((await EmbeddingIndex.open(join(work, "texts.npy"))).rows, 2);
    writeFileSync(join(work, "cut.tar"), Buffer.concat(chunks).subarray(0, 700));
    assert.match(
      cli("embed", join(work, "cut.tar"), "-o", join(work, "cut.npy"), "-m", tinyModel).stderr,
      /E_DATASET_FORMAT/,
    );
    assertMissing(join(work, "cut.npy"));
    assert.equal(cli("embed", folder, "-o", join(work, "x.csv"), "-m", tinyModel).status, 2);
    assert.equal(cli("embed", "-o", join(work, "x.npy"), "-m", tinyModel).status, 2);
  });

  it("killed at random moments, it goes on and ends with the same file", async () => {
    const work = temporaryFolder();
    assert.equal(cli("embed", folder, "-o", join(work, "whole.npy"), "-m", tinyModel, "-b", "3").status, 0);
    const args = [MAIN, "embed", folder, "-o", join(work, "killed.npy"), "-m", tinyModel, "-b", "3"];
    let kills = 0;
    for (let i = 0; i < 6; i++) {
      const child = spawn(process.execPath, args, { stdio: "ignore" });
      const timer = setTimeout(() => child.kill("SIGKILL"), 350 + 60 * i);
      const signal = await new Promise<string | null>((resolve) => child.on("exit", (_, s) => resolve(s)));
      clearTimeout(timer);
      if (signal) kills++;
      else break;
    }
    assert.ok(kills > 0, `kills: ${kills}`);
    // The lock of the killed process is taken over at once.
    const last = runNode(args);
    assert.equal(last.status, 0, last.stderr);
    assert.deepEqual(
      readdirSync(work).filter((name) => name.startsWith("killed")),
      ["killed.npy", "killed.npy.json"],
    );
    assert.deepEqual(readFileSync(join(work, "killed.npy")), readFileSync(join(work, "whole.npy")));
  });

  it("fast decode: cosine above 0.99 on a large JPEG, and not the same bits", async () => {
    const clip = await load(tinyModel, { device: "cpu" });
    const noise = Buffer.from(
      Uint8Array.from(
        { length: 1800 * 2400 * 3 },
        (_, i) => 128 + 80 * Math.sin(i / 900) + ((i * 7919) % 23),
      ),
    );
    const jpeg = await sharp(noise, { raw: { width: 2400, height: 1800, channels: 3 } })
      .jpeg()
      .toBuffer();
    const [exact, fast] = [
      await clip.encodeImages([jpeg]),
      await clip.encodeImages([jpeg], { fastDecode: true }),
    ];
    assertCosine(fast.data, exact.data, exact.dim, 0.99);
    assert.notDeepEqual(exact.data, fast.data);
    await clip.close();
  });
});
