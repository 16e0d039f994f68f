import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, temporaryFolder, tinyModel } from "../support/index.js";
import { printedBy, runNode, runScript } from "../support/process.js";

const folder = temporaryFolder();
const entry = JSON.stringify(join(root, "dist", "index.js"));
const model = JSON.stringify(tinyModel);

const ends = (script: string, code: number, ...flags: string[]): string =>
  printedBy(runScript(script, flags), code);

const image =
  "const image = { data: new Uint8Array(300 * 300 * 3).fill(90), width: 300, height: 300, channels: 3 };";

describe("the process around the engine", function () {
  this.timeout(300_000);

  it("an idle engine lets the process exit", () => {
    ends(
      `import { load } from ${entry};
       const c = await load(${model});
       await c.encodeTexts(["x"]);
       console.log("end");`,
      0,
    );
  });

  it("process.exit while a batch runs", () => {
    ends(
      `import { load } from ${entry}; ${image}
       const c = await load(${model});
       c.encodeImages(Array(500).fill(image));
       setTimeout(() => process.exit(7), 150);`,
      7,
    );
  });

  it("an uncaught error while a batch runs ends the process with code 1", () => {
    ends(
      `import { load } from ${entry}; ${image}
       const c = await load(${model});
       c.encodeImages(Array(500).fill(image));
       setTimeout(() => { throw new Error("x"); }, 100);`,
      1,
    );
  });

  it("worker threads started and stopped 100 times, also mid-batch", () => {
    const worker = join(folder, "worker.mjs");
    writeFileSync(
      worker,
      `import { parentPort } from "node:worker_threads";
       import { load } from ${entry}; ${image}
       const c = await load(${model}, { threads: 1 });
       c.encodeImages(Array(200).fill(image)).catch(() => {});
       parentPort.postMessage("running");`,
    );
    const out = ends(
      `import { Worker } from "node:worker_threads";
       for (let i = 0; i < 100; i++) {
         const w = new Worker(${JSON.stringify(worker)}, { execArgv: [] }); // it is a file, no text
         await new Promise((ok, bad) => { w.on("message", ok); w.on("error", bad); });
         await w.terminate();
       }
       console.log("all stopped");`,
      0,
    );
    assert.match(out, /all stopped/);
  });

  it("load and close 100 times with flat memory", () => {
    const out = ends(
      `import { load } from ${entry};
       const round = async () => {
         const c = await load(${model});
         await c.encodeTexts(["x"]);
         await c.close();
       };
       for (let i = 0; i < 20; i++) await round();
       globalThis.gc(); const before = process.memoryUsage.rss();
       for (let i = 0; i < 100; i++) await round();
       globalThis.gc(); console.log((process.memoryUsage.rss() - before) / 2 ** 20);`,
      0,
      "--expose-gc",
    );
    assert.ok(Number(out) < 60, `grew by ${out} MiB over 100 loads of a 9 MiB model`);
  });

  it("engines that are never closed are freed with their objects", () => {
    ends(
      `import { load } from ${entry};
       for (let i = 0; i < 10; i++) {
         await load(${model});
         globalThis.gc();
         await new Promise((r) => setTimeout(r, 5));
       }
       globalThis.gc();`,
      0,
      "--expose-gc",
    );
  });

  it("require() from CommonJS works", () => {
    const file = join(folder, "c.cjs");
    writeFileSync(
      file,
      `const t = require(${JSON.stringify(root)});
       t.load(${model}).then((c) => c.close()).then(() => console.log(typeof t.similarity));`,
    );
    assert.match(printedBy(runNode([file])), /function/);
  });
});
