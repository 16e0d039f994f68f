import assert from "node:assert/strict";
import { temporaryFolder } from "../support/index.js";
import { runSources } from "../support/process.js";

/** A module that trains and ends in the middle of it. */
const script = (body: string) => `
  import { finetune } from "./lib/finetune/index.js";
  import { stripeSet } from "./test/finetune/data.js";
  const train = (onProgress) => finetune("tiny", stripeSet("train", 24, 1), {
    method: "image", folder: ${JSON.stringify(temporaryFolder())}, steps: 1000, batchSize: 16,
    load: { device: "cpu", threads: 1 }, onProgress });
  ${body}`;

describe("the end of a process that trains", function () {
  this.timeout(120_000);

  it("process.exit in the middle of a step keeps its status", () => {
    const body = "await train(({ step }) => step === 2 && setTimeout(() => process.exit(7), 20));";
    const run = runSources(script(body));
    assert.deepEqual([run.status, run.signal], [7, null], run.stderr);
  });

  it("an exception elsewhere ends it with status 1", () => {
    const body = `await train(({ step }) => step === 2 && setTimeout(() => { throw new Error("other"); }, 20));`;
    const run = runSources(script(body));
    assert.deepEqual([run.status, run.signal], [1, null], run.stderr);
    assert.match(run.stderr, /other/);
  });

  it("a trainer that nobody holds any more does not keep the process", () => {
    const body = `
      const { addon } = await import("./lib/addon.js");
      for (let i = 0; i < 3; i++) new (addon().Trainer)();
      console.log("end");`;
    const run = runSources(script(body));
    assert.deepEqual([run.status, run.signal], [0, null], run.stderr);
    assert.equal(run.stdout.trim(), "end");
  });
});
