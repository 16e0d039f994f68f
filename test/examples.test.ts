import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { assertNear } from "./support/compare.js";
import { fixture, root } from "./support/index.js";
import { printedBy, runNode } from "./support/process.js";

const example = (name: string) => join(root, "examples", name);

/** A JPEG file whose header says that it has this size. */
function jpegOfSize(width: number, height: number) {
  const bytes = readFileSync(fixture("images/rgb420.jpg"));
  const frame = bytes.indexOf(Buffer.from([0xff, 0xc0])); // marker, length, precision, height, width
  assert.ok(frame > 0, "a baseline JPEG");
  bytes.writeUInt16BE(height, frame + 5);
  bytes.writeUInt16BE(width, frame + 7);
  return bytes;
}

describe("examples", () => {
  it("classify.mjs ranks the labels of an image", () => {
    const args = [example("classify.mjs"), fixture("images/rgb420.jpg"), "red,green,blue"];
    const lines = printedBy(runNode(args)).trim().split("\n");
    assert.equal(lines.length, 3);
    const percents = lines.map((line) => parseFloat(line));
    assert.deepEqual(
      percents,
      [...percents].sort((a, b) => b - a),
    );
    assertNear(
      percents.reduce((a, b) => a + b),
      100,
      0.1,
    );
    assert.deepEqual(lines.map((line) => line.split("%  ")[1]).sort(), ["blue", "green", "red"]);
  });

  it("embed-folder.mjs finds images of a folder by a text", () => {
    const args = [example("embed-folder.mjs"), fixture("images"), "a red square"];
    const hits = printedBy(runNode(args)).trim().split("\n");
    assert.equal(hits.length, 5);
    for (const hit of hits) assert.match(hit, /^-?0\.\d{4}  \S+\.(jpe?g|png|webp)$/);
  });

  it("server.mjs answers with embeddings and ends by SIGTERM", async () => {
    const server = spawn(process.execPath, [example("server.mjs"), "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = once(server, "close");
    try {
      const { value: line } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
      const port = /\d+$/.exec(String(line))![0];
      const post = (path: string, body: BodyInit) =>
        fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body });
      const health = await fetch(`http://127.0.0.1:${port}/health`);
      assert.equal(health.status, 200);
      assert.equal(((await health.json()) as { status: string }).status, "ok");
      const image = await post("/image", readFileSync(fixture("images/rgb420.jpg")));
      const text = await post("/text", "a red square");
      for (const response of [image, text]) {
        assert.equal(response.status, 200);
        const { embedding } = (await response.json()) as { embedding: number[] };
        assertNear(Math.hypot(...embedding), 1, 1e-5);
      }
      const bad = await post("/image", "no image");
      assert.equal(bad.status, 415);
      assert.equal(((await bad.json()) as { code: string }).code, "E_IMAGE_DECODE");
      const large = await post("/image", jpegOfSize(20000, 20000));
      assert.equal(large.status, 413);
      assert.equal(((await large.json()) as { code: string }).code, "E_IMAGE_TOO_LARGE");
    } finally {
      server.kill("SIGTERM");
    }
    assert.deepEqual(await ended, [0, null]);
  });

  for (const name of ["classify.mjs", "embed-folder.mjs"])
    it(`${name} without arguments prints how it is called, exit status 2`, () => {
      const run = runNode([example(name)]);
      assert.match(run.stderr, new RegExp(`^Usage: node examples/${name} `));
      assert.equal(printedBy(run, 2), "");
    });
});
