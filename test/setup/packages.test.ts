import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { PREBUILT, RESERVED, SCOPE } from "../../lib/util/platform.js";
import { problemsOf } from "../../scripts/packages/binary.mjs";
import { mainManifest, platformManifest, type Manifest } from "../../scripts/packages/manifests.mjs";
import { PLATFORMS } from "../../scripts/packages/platforms.mjs";
import { root } from "../support/index.js";

const repository = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Manifest;
const dynamic = (...libraries: string[]) =>
  libraries.map((name) => ` 0x01 (NEEDED)             Shared library: [${name}]\n`).join("");
const symbol = (name: string) => `    16: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND ${name} (4)\n`;
const SOUND = dynamic("libc.so.6", "libgcc_s.so.1", "libdl.so.2", "ld-linux-aarch64.so.1");

describe("the check of a package's binary", () => {
  it("takes glibc up to 2.28 and Node's own symbols", () => {
    const symbols = ["malloc@GLIBC_2.2.5", "fcntl64@GLIBC_2.28", "_Unwind_Resume@GCC_3.0", "napi_wrap"];
    assert.deepEqual(problemsOf(SOUND, symbols.map(symbol).join("")), []);
  });

  it("names newer symbols, with their version", () => {
    const symbols = ["dlopen@GLIBC_2.34", "_Znwm@GLIBCXX_3.4", "exp@GLIBC_2.29"].map(symbol).join("");
    assert.deepEqual(problemsOf(SOUND, symbols), [
      "it needs dlopen of GLIBC_2.34",
      "it needs _Znwm of GLIBCXX_3.4",
      "it needs exp of GLIBC_2.29",
    ]);
  });

  it("names libraries that a system may not have, and a folder of this machine", () => {
    const path = " 0x1d (RUNPATH)            Library runpath: [/opt/libtorch/lib]\n";
    assert.deepEqual(problemsOf(dynamic("libc.so.6", "libstdc++.so.6", "libc10.so") + path, ""), [
      "it needs libstdc++.so.6",
      "it needs libc10.so",
      "it looks for libraries in /opt/libtorch/lib",
    ]);
    assert.equal(problemsOf("", "").length, 1, "readelf printed nothing");
  });
});

describe("the manifests of the packages", () => {
  const main = mainManifest(repository, ["linux-x64", "linux-arm64"]);

  it("torchclip has no install script, and needs its own version of the platform packages", () => {
    assert.ok(!("scripts" in main), "no script runs");
    assert.ok(!("devDependencies" in main));
    assert.deepEqual(main.optionalDependencies, {
      "@torchclip/linux-x64": repository.version,
      "@torchclip/linux-arm64": repository.version,
    });
    assert.deepEqual(main.exports, repository.exports);
  });

  it("nothing in dependencies is there for a build alone", () => {
    const dependencies = Object.keys(repository.dependencies as object);
    for (const name of ["cmake-js", "node-addon-api", "node-api-headers"])
      assert.ok(!dependencies.includes(name), name);
  });

  it("a clone depends on no package that is not published", () => {
    assert.ok(!("optionalDependencies" in repository));
  });

  it("a platform package names its system, its processor and its C library", () => {
    const manifest = platformManifest(repository, "linux-arm64");
    assert.equal(manifest.name, "@torchclip/linux-arm64");
    assert.equal(manifest.version, repository.version);
    assert.deepEqual([manifest.os, manifest.cpu, manifest.libc], [["linux"], ["arm64"], ["glibc"]]);
    assert.throws(() => platformManifest(repository, "plan9-x64"), /plan9-x64 is none of linux-x64/);
  });

  it("the names that lib looks for are those that are packed", () => {
    assert.deepEqual([...PREBUILT, ...RESERVED].sort(), Object.keys(PLATFORMS).sort());
    assert.equal(SCOPE, "@torchclip");
  });
});
