import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadAddon } from "../../lib/addon.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";

describe("a failing load of the addon", () => {
  const folder = temporaryFolder();

  it("says that it was not built, and the command that builds it", async () => {
    const error = await rejectsWith("E_ADDON", () => loadAddon([join(folder, "none.node")]));
    assert.match(
      error.message,
      /has not been built[^]*none\.node: no such file[^]*npm --prefix .* run build/,
    );
  });

  it("names the file that does not load", async () => {
    const file = join(folder, "broken.node");
    writeFileSync(file, "not a library");
    const error = await rejectsWith("E_ADDON", () => loadAddon([file]));
    assert.match(error.message, /broken\.node: .*[^]*Needed:[^]*libtorch/);
  });
});
