import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { loadAddon } from "../../lib/addon.js";
import { errorOf, temporaryFolder } from "../support/index.js";

describe("a failing load of the addon", () => {
  const folder = temporaryFolder();

  it("says that it was not built, and the command that builds it", async () => {
    const error = await errorOf(() => loadAddon([join(folder, "none.node")]));
    assert.equal(error.code, "E_ADDON");
    assert.match(
      error.message,
      /has not been built[^]*none\.node: no such file[^]*npm --prefix .* run build/,
    );
  });

  it("names the file that does not load", async () => {
    const file = join(folder, "broken.node");
    writeFileSync(file, "not a library");
    const error = await errorOf(() => loadAddon([file]));
    assert.equal(error.code, "E_ADDON");
    assert.match(error.message, /broken\.node: .*[^]*Needed:[^]*libtorch/);
  });
});
