import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { embedImages, type EmbedOptions } from "../../lib/embed/embed.js";
import { imageSource } from "../../lib/embed/sources.js";
import { load, type Clip } from "../../lib/index.js";
import { openStored } from "../../lib/search/stored.js";
import { colourImages } from "../support/colours.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";
import { commandLine, MAIN } from "../support/process.js";

describe("embed --update", function () {
  this.timeout(120_000);
  const folder = temporaryFolder();
  let clip: Clip;

  before(async () => {
    clip = await load("tiny");
  });
  after(() => clip.close());

  async function embed(source: string, out: string, options: Partial<EmbedOptions> = {}) {
    const given = { input: source, model: "tiny", ...options };
    return embedImages(clip, await imageSource(source), out, given);
  }

  for (const ending of ["npy", "parquet"]) {
    it(`.${ending}: new, changed and removed images; the bytes are those of a run without it`, async () => {
      const source = join(folder, ending);
      const out = join(folder, `a.${ending}`);
      await colourImages(source, ["black", "blue", "lime", "red", "white"]);
      const none = await embed(source, out, { update: true });
      assert.deepEqual(none.changes, { added: 5, changed: 0, renamed: 0, removed: 0, unchanged: 0 });
      writeFileSync(join(source, "broken.png"), "no image");
      rmSync(join(source, "blue.png"));
      copyFileSync(join(source, "white.png"), join(source, "red.png"));
      await colourImages(source, ["gray"]);
      renameSync(join(source, "black.png"), join(source, "noir.png"));
      const { changes, resumed, errors } = await embed(source, out, { update: true });
      assert.deepEqual(changes, { added: 2, changed: 1, renamed: 1, removed: 1, unchanged: 2 });
      assert.equal(resumed, 4, "rows that were taken over, of the changed file by its content");
      assert.deepEqual(
        errors.map(({ name }) => name),
        ["broken.png"],
      );
      const fresh = join(folder, `b.${ending}`);
      await embed(source, fresh);
      assert.deepEqual(readFileSync(out), readFileSync(fresh));
      const again = await embed(source, out, { update: true });
      assert.deepEqual(again.changes, { added: 0, changed: 0, renamed: 0, removed: 0, unchanged: 6 });
      assert.equal(again.resumed, 5, "a failed image is tried again");
    });
  }

  it("rows of other settings, or of a file that says nothing, are embedded anew; a damaged file stays", async () => {
    const source = join(folder, "settings");
    const out = join(folder, "settings.npy");
    await colourImages(source);
    await embed(source, out);
    const rotated = await embed(source, out, { update: true, autoRotate: true });
    assert.equal(rotated.resumed, 0);
    assert.match(rotated.changes!.anew!, /by another model or with other settings/);
    rmSync(`${out}.json`);
    const bare = await embed(source, out, { update: true });
    assert.match(bare.changes!.anew!, /does not say what its rows are of/);
    assert.deepEqual((await embed(source, out, { update: true })).resumed, 3);
    writeFileSync(out, "damaged");
    await rejectsWith("E_INDEX_CORRUPT", () => embed(source, out, { update: true }));
    assert.equal(readFileSync(out, "utf8"), "damaged");
    assert.ok(!existsSync(`${out}.partial.lock`), "the lock is given back");
  });

  it("--watch brings the file up to date when the folder changes, until Ctrl-C", async () => {
    const source = join(folder, "watched");
    await colourImages(source);
    const out = join(source, "a.npy"); // what is written into the folder itself is no change
    const args = [MAIN, "embed", source, "-o", out, "--watch", "--json", "-m", "tiny"];
    const env = { ...process.env, TORCHCLIP_CACHE: join(folder, "cache") };
    const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "ignore"] });
    const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
    const lines: { rows: number; changes?: object }[] = [];
    let wake: () => unknown = () => undefined;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      for (const line of text.split("\n").filter(Boolean)) lines.push(JSON.parse(line) as (typeof lines)[0]);
      wake();
    });
    const printed = async (count: number) => {
      while (lines.length < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    await printed(1);
    await colourImages(folder, ["gray"]);
    renameSync(join(folder, "gray.png"), join(source, "gray.png"));
    await printed(2);
    assert.deepEqual(lines[1].changes, { added: 1, changed: 0, renamed: 0, removed: 0, unchanged: 3 });
    const { names, index } = await openStored(out);
    index.close();
    assert.deepEqual(names, ["blue.png", "gray.png", "lime.png", "red.png"]);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal(lines.length, 2, "its own output does not wake it");
    child.kill("SIGINT");
    assert.equal(await ended, 0);
  });

  it("options that do not fit the target are E_ARGUMENT", () => {
    const cli = commandLine(join(folder, "cache"));
    const fails = (message: RegExp, ...args: string[]) => {
      const { status, stderr } = cli("embed", join(folder, "settings"), ...args);
      assert.equal(status, 2, stderr);
      assert.match(stderr, message);
    };
    fails(/give either --out FILE or --to TARGET/);
    fails(/give either --out FILE or --to TARGET/, "-o", "a.npy", "--to", "b.npy");
    fails(/--prune is for a database, not for a\.npy/, "-o", "a.npy", "--prune");
    fails(/--update is for a file/, "--to", "lancedb:x", "--update");
    fails(/cannot write to a\.txt/, "--to", "a.txt");
  });
});
