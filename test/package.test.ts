import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { root, temporaryFolder, tinyModel } from "./support/index.js";

const run = (command: string, args: string[], options: object = {}) => {
  const result = spawnSync(command, args, { encoding: "utf8", cwd: root, ...options });
  assert.equal(result.status, 0, `${command} ${args.join(" ")}\n${result.stdout}\n${result.stderr}`);
  return result.stdout;
};

describe("the package", function () {
  this.timeout(600_000);
  const folder = temporaryFolder();

  it("holds only what a user needs, in at most 15 MB", () => {
    const [pack] = JSON.parse(run("npm", ["pack", "--dry-run", "--json", "--silent"])) as { files: { path: string }[]; unpackedSize: number }[];
    const top = [
      ...new Set(
        pack.files.map((f) =>
          f.path
            .split("/")
            .slice(0, f.path.startsWith("native/") ? 2 : 1)
            .join("/"),
        ),
      ),
    ].sort();
    assert.deepEqual(top, [
      "CHANGELOG.md",
      "CMakeLists.txt",
      "LICENSE",
      "README.md",
      "binding.gyp",
      "dist",
      "models",
      "native/CMakeLists.txt",
      "native/addon",
      "native/cmake",
      "native/core",
      "native/cuda",
      "native/include",
      "package.json",
      "scripts",
    ]);
    assert.deepEqual(
      pack.files.map((f) => f.path).filter((p) => p.startsWith("scripts/")),
      ["scripts/build.mjs", "scripts/setup.mjs"],
    );
    assert.ok(pack.unpackedSize <= 15e6, `${pack.unpackedSize} bytes`);
  });

  it("the installed C library works from another place: find_package, C, no Node", () => {
    run("cmake", ["--install", "build", "--prefix", join(folder, "first")]);
    run("mv", [join(folder, "first"), join(folder, "moved")]);
    const build = join(folder, "example");
    run("cmake", ["-S", join(root, "native/examples"), "-B", build, `-DCMAKE_PREFIX_PATH=${join(folder, "moved")}`]);
    run("cmake", ["--build", build]);
    const out = run(join(build, "encode"), [tinyModel]);
    assert.match(out, /tiny.pt on cpu: embedding dimension 192[^]*cosine of the picture and "a red square": -?\d\.\d+/);
  });

  it("node-gyp rebuild drives the same CMake build", function () {
    const headers = join(dirname(process.execPath), "..", "include", "node", "node_api.h");
    if (!existsSync(headers)) {
      console.log("      skipped: this Node has no headers beside it, and node-gyp would download them");
      return this.skip();
    }
    // In a copy, because `rebuild` removes build/, which the other tests use.
    const copy = join(folder, "copy");
    mkdirSync(copy);
    for (const name of ["package.json", "CMakeLists.txt", "binding.gyp", "native", "scripts", "dist", "models"])
      cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    run(process.execPath, [join(root, "node_modules/node-gyp/bin/node-gyp.js"), "rebuild", `--nodedir=${join(dirname(process.execPath), "..")}`], {
      cwd: copy,
    });
    assert.ok(existsSync(join(copy, "build/Release/torchclip.node")));
  });
});
