import assert from "node:assert/strict";
import { join } from "node:path";
import { root } from "../support/index.js";
import { runNode } from "../support/process.js";

describe("scripts/fuzz-formats.ts", function () {
  this.timeout(180_000);

  it("every reader takes its seeds: a reader that became stricter would end the long run", () => {
    const script = join(root, "scripts/fuzz-formats.ts");
    const { status, stdout, stderr } = runNode(["--import", "tsx", script, "--seconds", "0.01"], {
      cwd: root,
    });
    assert.equal(status, 0, stdout + stderr);
    const lines = stdout.trim().split("\n");
    assert.ok(lines.length >= 13, stdout);
    for (const line of lines) assert.match(line, /^\w+: \d+ executions, 0 findings; /);
  });
});
