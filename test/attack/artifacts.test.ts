import assert from "node:assert/strict";
import { attackArtifacts } from "../../scripts/attack/run.js";

describe("hostile model artifacts (scripts/attack)", () => {
  it("each is refused with its code, or loads as if nothing had been changed; none runs, crashes or hangs", async function () {
    this.timeout(600_000);
    const outcomes = await attackArtifacts();
    const bad = outcomes
      .filter((o) => !o.ok)
      .map((o) => `${o.name}: ${o.result} (${o.milliseconds} ms, ${o.megabytes} MB)`);
    assert.ok(outcomes.length > 130, `${outcomes.length} artifacts`);
    assert.deepEqual(bad, []);
  });
});
