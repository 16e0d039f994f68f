import assert from "node:assert/strict";
import { join } from "node:path";
import { root } from "../support/index.js";
import { runNode } from "../support/process.js";

/** A few kills and full disks; the whole runs are the scripts' own. */
describe("faults while files are written", function () {
  this.timeout(600_000);

  const faults = (script: string, ...args: string[]) => {
    const command = ["--import=tsx", join(root, "scripts/faults", script), "--images", "12", ...args];
    const { status, stdout, stderr } = runNode(command, { cwd: root, timeout: 600_000 });
    assert.equal(status, 0, stdout + stderr);
    return stdout;
  };

  it("killed: the same bytes at the end, nothing to remove by hand", () => {
    const out = faults("kill.ts", "--count", "3", "--only", "embed-npy,pull,save,finetune");
    assert.equal(out.match(/each ended with the same bytes/g)?.length, 4, out);
  });

  it("a full disk: E_WRITE, the old file or none, then the same bytes", function () {
    const out = faults("disk-full.ts", "--count", "4");
    if (out.startsWith("skipped")) {
      console.log(`      ${out.trim()}`);
      return this.skip();
    }
    assert.equal(out.match(/each ended with the same bytes/g)?.length, 7, out);
  });
});
