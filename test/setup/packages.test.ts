import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { arch, platform } from "node:process";
import { PREBUILT, RESERVED, SCOPE } from "../../lib/util/platform.js";
import { backendPackage } from "../../lib/setup/backends.js";
import { floorOf, problemsOf } from "../../scripts/packages/binary.mjs";
import {
  backendManifest,
  mainManifest,
  pinsOf,
  platformManifest,
  type Manifest,
} from "../../scripts/packages/manifests.mjs";
import { BACKENDS, packageName, PLATFORMS } from "../../scripts/packages/platforms.mjs";
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

  it("lets the backend alone use libtorch and the system's libstdc++, that of GCC 8 or later", () => {
    const libraries = dynamic("libtorch_cpu.so", "libc10.so", "libstdc++.so.6", "libc.so.6");
    const symbols = ["_Znwm@GLIBCXX_3.4", "uncaught@GLIBCXX_3.4.25", "__cxa@CXXABI_1.3.11"]
      .map(symbol)
      .join("");
    const floor = floorOf("build/native/libtorchclip_torch.so");
    assert.deepEqual(problemsOf(libraries, symbols, floor), []);
    assert.equal(problemsOf(libraries, symbols, floorOf("build/native/libtorchclip.so.1")).length, 6);
    const newer = ["wait@GLIBCXX_3.4.30", "__cxa@CXXABI_1.3.13", "dlopen@GLIBC_2.34"].map(symbol).join("");
    assert.deepEqual(problemsOf(dynamic("libgomp.so.1"), newer, floor), [
      "it needs libgomp.so.1",
      "it needs wait of GLIBCXX_3.4.30",
      "it needs __cxa of CXXABI_1.3.13",
      "it needs dlopen of GLIBC_2.34",
    ]);
  });
});

describe("the newer symbols of glibc that the code needs", () => {
  const built = ["torchclip.node", "libtorchclip.so", "libtorchclip_torch.so"]
    .map((name) => join(root, "build", "Release", name))
    .filter((file) => existsSync(file));
  const isElf = platform === "linux" && spawnSync("readelf", ["--version"]).status === 0;

  for (const file of built) {
    it(`of ${basename(file)} have a form for glibc 2.28`, function () {
      if (!isElf) this.skip();
      const forms = readFileSync(join(root, "native", "package", "glibc_2_28.c"), "utf8");
      const symbols = execFileSync("readelf", ["-W", "--dyn-syms", file], { encoding: "utf8" });
      const needed = problemsOf(dynamic("libc.so.6"), symbols).flatMap(
        (problem) => /^it needs (\w+) of GLIBC_/.exec(problem)?.[1] ?? [],
      );
      if (needed.length === 0) this.skip(); // built with glibc 2.28 or older
      for (const name of needed) assert.match(forms, new RegExp(`\\b${name}\\b`), `native/package: ${name}`);
    });
  }
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

  it("the package of a backend holds its library, is for one platform, and is no dependency of torchclip", () => {
    const manifest = backendManifest(repository, "torch-linux-x64", "2.13.0");
    assert.equal(manifest.name, "@torchclip/torch-linux-x64");
    assert.equal(manifest.version, repository.version);
    assert.deepEqual(manifest.files, ["libtorchclip_torch.so"]);
    assert.deepEqual([manifest.os, manifest.cpu, manifest.libc], [["linux"], ["x64"], ["glibc"]]);
    assert.match(String(manifest.description), /for libtorch 2\.13\.0 on linux-x64/);
    assert.ok(!("@torchclip/torch-linux-x64" in (main.optionalDependencies as object)));
    assert.throws(
      () => backendManifest(repository, "torch-plan9", "2.13.0"),
      /torch-plan9 is none of torch-linux-x64/,
    );
  });

  it("backends.json pins each backend's tarball under the name that setup looks for", () => {
    const backend = { name: "torch-linux-x64", version: "1.2.3", libtorch: "2.13.0" };
    const pins = pinsOf([{ ...backend, tarball: Buffer.from("abc") }]);
    // The SHA-256 of "abc" in FIPS 180-2.
    const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const pin = { version: "1.2.3", libtorch: "2.13.0", sha256 };
    assert.deepEqual(pins, { "@torchclip/torch-linux-x64": pin });
    assert.ok((main.files as string[]).includes("backends.json"), "torchclip packs it");
    const looksFor = backendPackage("torch").replace(`${platform}-${arch}`, "linux-x64");
    assert.deepEqual(Object.keys(BACKENDS).map(packageName), [looksFor]);
  });

  it("the names that lib looks for are those that are packed", () => {
    assert.deepEqual([...PREBUILT, ...RESERVED].sort(), Object.keys(PLATFORMS).sort());
    assert.equal(SCOPE, "@torchclip");
  });
});
