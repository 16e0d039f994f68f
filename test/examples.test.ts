import { strict as assert } from "node:assert";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { fixture, root } from "./support/index.js";

const run = promisify(execFile);
const example = (name: string) => join(root, "examples", name);

describe("examples", () => {
  it("classify.mjs ranks the labels of an image", async () => {
    const { stdout } = await run(process.execPath, [
      example("classify.mjs"),
      fixture("images/rgb420.jpg"),
      "red,green,blue",
    ]);
    const lines = stdout.trim().split("\n");
    assert.equal(lines.length, 3);
    const percents = lines.map((line) => parseFloat(line));
    assert.deepEqual(
      percents,
      [...percents].sort((a, b) => b - a),
    );
    assert.ok(Math.abs(percents.reduce((a, b) => a + b) - 100) < 0.1);
    assert.deepEqual(lines.map((line) => line.split("%  ")[1]).sort(), ["blue", "green", "red"]);
  });

  it("embed-folder.mjs finds images of a folder by a text", async () => {
    const { stdout } = await run(process.execPath, [
      example("embed-folder.mjs"),
      fixture("images"),
      "a red square",
    ]);
    const hits = stdout.trim().split("\n");
    assert.equal(hits.length, 5);
    for (const hit of hits) assert.match(hit, /^-?0\.\d{4}  \S+\.(jpe?g|png|webp)$/);
  });

  it("server.mjs answers with embeddings and ends by SIGTERM", async () => {
    const server = spawn(process.execPath, [example("server.mjs"), "0"], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise((resolve) => server.on("close", (code) => resolve(code)));
    try {
      const { value: line } = await createInterface({ input: server.stdout })[Symbol.asyncIterator]().next();
      const port = /\d+$/.exec(String(line))![0];
      const post = (path: string, body: BodyInit) =>
        fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body });
      const image = await post("/image", readFileSync(fixture("images/rgb420.jpg")));
      const text = await post("/text", "a red square");
      for (const response of [image, text]) {
        assert.equal(response.status, 200);
        const { embedding } = (await response.json()) as { embedding: number[] };
        assert.ok(Math.abs(Math.hypot(...embedding) - 1) < 1e-5);
      }
      const bad = await post("/image", "no image");
      assert.equal(bad.status, 415);
      assert.equal(((await bad.json()) as { code: string }).code, "E_IMAGE_DECODE");
    } finally {
      server.kill("SIGTERM");
    }
    assert.equal(await ended, 0);
  });
});
