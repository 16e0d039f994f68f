import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { addonProblem, type Machine } from "../../lib/addon-problem.js";
import { loadAddon } from "../../lib/addon.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";

describe("a failing load of the addon", () => {
  const folder = temporaryFolder();

  it("says that it was not built, and the command that builds it", async () => {
    const places = [
      { what: "local build", file: join(folder, "none.node") },
      { what: "@torchclip/linux-x64", file: undefined },
    ];
    const error = await rejectsWith("E_ADDON", () => loadAddon(places));
    assert.match(error.message, /has not been built[^]*local build: .*none\.node: no such file/);
    assert.match(error.message, /@torchclip\/linux-x64: not installed\n[^]*npm --prefix .* run build/);
  });

  it("names the file that does not load", async () => {
    const file = join(folder, "broken.node");
    writeFileSync(file, "not a library");
    const error = await rejectsWith("E_ADDON", () => loadAddon([{ what: "TORCHCLIP_ADDON", file }]));
    assert.match(error.message, /TORCHCLIP_ADDON: .*broken\.node: .*[^]*Needed:[^]*libtorch/);
    assert.ok(error.cause, "the system's own error is its cause");
  });
});

describe("the text about an addon that does not load", () => {
  const installed: Machine = {
    platform: "linux-x64",
    libc: "glibc 2.36",
    clone: undefined,
    others: [],
  };
  const text = (error: string | undefined, machine: Partial<Machine> = {}) =>
    addonProblem(["local build: none"], error, { ...installed, ...machine });

  it("names the package that is missing, and the command that installs it", () => {
    const lines = text(undefined).split("\n");
    assert.match(lines[0], /the package @torchclip\/linux-x64 with the prebuilt addon is not installed\.$/);
    assert.match(lines[1], /Found: Node v.* on linux-x64, glibc 2\.36; tried/);
    assert.equal(lines[2], "  local build: none");
    assert.equal(lines.at(-1), "To mend it: npm install --include=optional torchclip");
  });

  it("says that node_modules was installed for another system", () => {
    const message = text(undefined, { others: ["@torchclip/darwin-arm64"] });
    assert.match(message, /but @torchclip\/darwin-arm64 is: node_modules was installed for another system/);
    assert.match(message, /npm install --os=linux --cpu=x64 --include=optional torchclip$/);
  });

  it("says that there is no package for a platform, and what to do", () => {
    const message = text(undefined, { platform: "linuxmusl-x64", libc: "musl" });
    assert.match(message, /there is no prebuilt addon for linuxmusl-x64\./);
    assert.match(message, /on linuxmusl-x64, musl; tried[^]*git clone .* TORCHCLIP_ADDON/);
  });

  for (const [error, expected] of [
    ["/lib/libm.so.6: version `GLIBC_2.29' not found", /C or C\+\+ library of this system is too old/],
    ["Error relocating a.node: __cxa: symbol not found", /another C library \(glibc or musl\)/],
    ["a.node: invalid ELF header", /damaged, or it is built for another system/],
    ["was compiled against a different Node.js version", /built for another Node\.js/],
    ["out of luck", /the addon does not load\./],
  ] as const) {
    it(`explains “${error}”`, () => {
      assert.match(text(error), expected);
      assert.match(text(error), /rm -r node_modules\/@torchclip\/linux-x64$/);
    });
  }
});
