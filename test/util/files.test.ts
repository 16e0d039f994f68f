import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { writeFile, type FileHandle } from "node:fs/promises";
import { basename, join } from "node:path";
import { contactSheetHtml, contactSheetPng } from "../../lib/report/sheet.js";
import { csvCell } from "../../lib/util/csv.js";
import {
  temporaryName,
  toWriteError,
  writeAll,
  writeFileWhole,
  writeFolderWhole,
  writeWhole,
} from "../../lib/util/files.js";
import { pathInside } from "../../lib/util/inside.js";
import { lock } from "../../lib/util/lock.js";
import { errorOf, rejectsWith, temporaryFolder } from "../support/index.js";
import { deadTemporaryName } from "../support/process.js";

describe("files that are written whole", () => {
  const folder = temporaryFolder();

  it("all bytes are written where the system takes fewer at a time", async () => {
    const taken: number[] = [];
    const handle = {
      write: (bytes: Uint8Array, at: number, length: number) => {
        const bytesWritten = Math.min(length, 7);
        taken.push(...bytes.subarray(at, at + bytesWritten));
        return Promise.resolve({ bytesWritten });
      },
    } as unknown as FileHandle;
    const wanted = Uint8Array.from({ length: 100 }, (_, i) => i);
    await writeAll(handle, wanted);
    assert.deepEqual(taken, [...wanted]);
  });

  it("a writer that fails leaves the old file, and nothing beside it", async () => {
    const work = join(folder, "failing");
    const file = join(work, "a.txt");
    await writeFileWhole(file, "old");
    const error = await errorOf(() =>
      writeWhole(file, async (whole) => {
        await whole.write("half of the new");
        throw new Error("stop");
      }),
    );
    assert.equal(error.message, "stop");
    assert.deepEqual(readdirSync(work), ["a.txt"]);
    assert.equal(readFileSync(file, "utf8"), "old");
    const folderWritten = writeFolderWhole(join(work, "b"), (temporary) => {
      writeFileSync(join(temporary, "x"), "x");
      throw new Error("stop");
    });
    await assert.rejects(folderWritten, { message: "stop" });
    assert.deepEqual(readdirSync(work), ["a.txt"]);
  });

  it("places that cannot be written: E_WRITE with the reason in words and the path", async () => {
    const file = join(folder, "plain");
    writeFileSync(file, "");
    mkdirSync(join(folder, "taken"));
    for (const [path, reason] of [
      [join(file, "below"), /something else has that name|not a folder/],
      [join(file, "further", "below"), /not a folder \(ENOTDIR\)/],
      [join(folder, "taken"), /it is a folder \(EISDIR\)/],
      [join(folder, "n".repeat(300)), /the name is too long \(ENAMETOOLONG\)/],
      ["/proc/torchclip-no-such", /\((ENOENT|EACCES|EPERM)\)/],
    ] as const) {
      const error = await rejectsWith("E_WRITE", () => writeFileWhole(path, "x"), path);
      assert.match(error.message, reason);
      assert.ok(error.message.includes(path) && error.subject === path, error.message);
    }
    const full = Object.assign(new Error("x"), { code: "EDQUOT", errno: -122, syscall: "write" });
    assert.match(
      (toWriteError(full, "y") as Error).message,
      /cannot write y: the disk quota is exceeded \(EDQUOT\)/,
    );
  });

  it("a link's target is replaced, not the link; a device is refused", async function () {
    const file = join(folder, "target.txt");
    const link = join(folder, "link.txt");
    writeFileSync(file, "old");
    symlinkSync(file, link);
    await writeFileWhole(link, "new");
    assert.equal(readFileSync(file, "utf8"), "new");
    if (!existsSync("/dev/full")) return this.skip();
    await rejectsWith("E_WRITE", () => writeFileWhole("/dev/full", "x"));
    assert.ok(existsSync("/dev/full"));
  });

  it("names as long as the file system takes", async () => {
    const file = join(folder, `${"n".repeat(251)}.txt`);
    await writeFileWhole(file, "x");
    assert.equal(readFileSync(file, "utf8"), "x");
  });

  const writers: [what: string, write: (path: string) => Promise<unknown>][] = [
    ["a file", (path) => writeFileWhole(path, "x")],
    ["a folder", (path) => writeFolderWhole(path, (temporary) => writeFile(join(temporary, "in"), "x"))],
    ["a lock", async (path) => (await lock(path)).release()],
  ];
  for (const [what, write] of writers) {
    it(`temporary files of processes that have ended are removed by ${what}, those of living ones stay`, async () => {
      const work = join(folder, `swept by ${what}`);
      mkdirSync(work);
      const [mine, dead] = [basename(temporaryName(join(work, "a"))), deadTemporaryName("a")];
      for (const name of [mine, dead]) writeFileSync(join(work, name), "");
      await write(join(work, "b"));
      const left = readdirSync(work);
      assert.ok(left.includes(mine) && !left.includes(dead), left.join(", "));
    });
  }
});

describe("what reports write and read", () => {
  it("cells that a spreadsheet would run get an apostrophe; numbers stay numbers", () => {
    assert.equal(csvCell('=HYPERLINK("http://x")'), '"\'=HYPERLINK(""http://x"")"');
    assert.deepEqual(["+1", "-1", "@x", "\tx", "＝x"].map(csvCell), ["'+1", "'-1", "'@x", "'\tx", "'＝x"]);
    assert.equal(csvCell("\rx"), '"\'\rx"');
    assert.deepEqual(["a=b", "", "cat"].map(csvCell), ["a=b", "", "cat"]);
    assert.equal(csvCell(-0.5), "-0.5");
  });

  it("names that lead out of a folder are refused by name", async () => {
    const folder = temporaryFolder();
    const inner = join(folder, "root");
    mkdirSync(join(inner, "sub"), { recursive: true });
    writeFileSync(join(folder, "secret.png"), "");
    writeFileSync(join(inner, "sub", "..a.png"), "");
    symlinkSync(join(folder, "secret.png"), join(inner, "link.png"));
    for (const name of [
      "../secret.png",
      "sub/../../secret.png",
      join(folder, "secret.png"),
      "link.png",
      "http://127.0.0.1/a.png",
      "file:///etc/a.png",
    ]) {
      const error = await rejectsWith("E_ARGUMENT", () => pathInside(inner, name), name);
      assert.ok(error.message.includes(name), error.message);
    }
    for (const sheet of [contactSheetHtml, contactSheetPng]) {
      const error = await errorOf(() =>
        sheet([{ query: "q", hits: [{ name: "../secret.png", score: 1 }] }], inner, inner),
      );
      assert.match(`${error.code} ${error.message}`, /^E_ARGUMENT "\.\.\/secret\.png" leads out of/);
    }
    assert.match(await pathInside(inner, "sub/..a.png"), /\.\.a\.png$/);
    await rejectsWith("E_IMAGE_READ", () => pathInside(inner, "none.png"));
    rmSync(inner, { recursive: true });
  });
});
