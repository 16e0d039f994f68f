import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
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
    const [pack] = JSON.parse(run("npm", ["pack", "--dry-run", "--json", "--silent"])) as {
      files: { path: string }[];
      unpackedSize: number;
    }[];
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
      "dist",
      "models",
      "native/CMakeLists.txt",
      "native/addon",
      "native/cmake",
      "native/core",
      "native/cuda",
      "native/include",
      "native/torch",
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
    run("cmake", [
      "-S",
      join(root, "native/examples"),
      "-B",
      build,
      `-DCMAKE_PREFIX_PATH=${join(folder, "moved")}`,
    ]);
    run("cmake", ["--build", build]);
    const out = run(join(build, "encode"), [tinyModel]);
    assert.match(
      out,
      /tiny.pt on cpu: embedding dimension 192[^]*cosine of the image and "a red square": -?\d\.\d+/,
    );
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
    for (const name of [
      "package.json",
      "CMakeLists.txt",
      "binding.gyp",
      "native",
      "scripts",
      "dist",
      "models",
    ])
      cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    run(
      process.execPath,
      [
        join(root, "node_modules/node-gyp/bin/node-gyp.js"),
        "rebuild",
        `--nodedir=${join(dirname(process.execPath), "..")}`,
      ],
      {
        cwd: copy,
      },
    );
    assert.ok(existsSync(join(copy, "build/Release/torchclip.node")));
    // The copy is, like an installed package, without package-lock.json.
    const headers500MB = readdirSync(join(copy, "build"), { recursive: true, encoding: "utf8" }).filter((f) =>
      /\.(gch|pch)$/.test(f),
    );
    assert.deepEqual(headers500MB, [], "precompiled headers stay in a dependent's tree");
  });

  it("doctor works where the addon is not built, and lists what a build needs", () => {
    const copy = join(folder, "unbuilt");
    mkdirSync(copy);
    for (const name of ["package.json", "dist"])
      cpSync(join(root, name), join(copy, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    const doctor = (env: object) =>
      JSON.parse(
        run(process.execPath, ["dist/cli/main.js", "doctor", "--json"], {
          cwd: copy,
          env: { ...process.env, ...env },
        }),
      ) as Record<string, unknown>;
    const found = doctor({});
    assert.match(String(found.addon), /the native addon has not been built on this machine/);
    assert.match(String(found.compiler), /\d+\.\d+/);
    assert.match(String(found.cmake), /cmake version 3|cmake version 4/);
    assert.match(String(found.python), /^Python 3/);
    assert.ok((found.memoryBytes as { total: number }).total > 1e8, "the memory is known");
    assert.ok((found.diskBytes as number) > 0, "the disk space is known");
    assert.ok(Array.isArray(found.cpuFeatures));
    const bare = doctor({ PATH: folder, CXX: "no-such-compiler", PYTHON: "no-such-python" });
    assert.equal(bare.compiler, "not found");
    assert.equal(bare.cmake, "not found");
    const advice = (bare.advice as string[]).join("\n");
    assert.match(advice, /To mend it: npm --prefix/);
    assert.match(advice, /no C\+\+20 compiler was found \(no-such-compiler\): .*g\+\+/);
    assert.match(advice, /CMake >= 3.22 was not found/);
  });

  it("require and import give the same instance and the same names", () => {
    const names = ["torchclip", "torchclip/eval", "torchclip/datasets", "torchclip/learn"];
    const code = `
      const { createRequire } = await import("node:module");
      const require = createRequire(import.meta.url);
      for (const name of ${JSON.stringify(names)}) {
        const esm = await import(name);
        const cjs = require(name);
        for (const key of Object.keys(esm)) if (esm[key] !== cjs[key]) throw new Error(name + ": " + key);
      }
      const fallback = require("./dist/commonjs.cjs");
      const bundled = ["torchclip", "torchclip/datasets", "torchclip/eval", "torchclip/learn"]; // e0 to e3
      const entries = await Promise.all(bundled.map((name) => import(name)));
      entries.forEach((esm, i) => {
        const missing = Object.keys(esm).filter((key) => !(key in fallback["e" + i]));
        if (missing.length) throw new Error("commonjs.cjs lacks " + missing);
      });
      const clip = await fallback.e0.load("tiny");
      console.log((await clip.encodeTexts(["a"])).dim);
      await clip.close();`;
    const file = join(root, `.same-instance-${process.pid}.mjs`);
    writeFileSync(file, code);
    try {
      assert.equal(run(process.execPath, [file]).trim(), "192");
    } finally {
      rmSync(file);
    }
  });
});
