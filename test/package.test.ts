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
    const top = [...new Set(pack.files.map((f) => f.path.split("/")[0]))].sort();
    assert.deepEqual(top, ["CHANGELOG.md", "LICENSE", "README.md", "dist", "models", "package.json"]);
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
      { cwd: copy, env: { ...process.env, TORCHCLIP_TESTS: "OFF" } },
    );
    assert.ok(existsSync(join(copy, "build/Release/torchclip.node")));
    // The copy is without package-lock.json: nobody compiles there often.
    const headers500MB = readdirSync(join(copy, "build"), { recursive: true, encoding: "utf8" }).filter((f) =>
      /\.(gch|pch)$/.test(f),
    );
    assert.deepEqual(headers500MB, [], "precompiled headers stay");
  });

  /** What `doctor` says in a copy of these files, which has no addon. */
  function doctorIn(name: string, files: readonly string[]) {
    const copy = join(folder, name);
    mkdirSync(copy);
    for (const file of files) cpSync(join(root, file), join(copy, file), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
    return (env: object) =>
      JSON.parse(
        run(process.execPath, ["dist/cli/main.js", "doctor", "--json"], {
          cwd: copy,
          env: { ...process.env, ...env },
        }),
      ) as Record<string, unknown>;
  }

  it("takes the addon from the platform's package, and names it in setup --list", function () {
    if (process.platform !== "linux") return this.skip();
    const modules = join(folder, "project", "node_modules");
    const platform = join(modules, "@torchclip", `linux-${process.arch}`);
    mkdirSync(join(modules, "torchclip"), { recursive: true });
    mkdirSync(platform, { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules")); // the dependencies, one folder up
    for (const name of ["package.json", "dist", "models"])
      cpSync(join(root, name), join(modules, "torchclip", name), { recursive: true });
    cpSync(join(root, "build/Release/torchclip.node"), join(platform, "torchclip.node"));
    const env = { ...process.env };
    delete env.TORCHCLIP_ADDON;
    const cli = (...args: string[]) =>
      run(process.execPath, [join(modules, "torchclip/dist/cli/main.js"), ...args], { env });
    const parts = JSON.parse(cli("setup", "--list", "--json")) as { name: string; path: string }[];
    assert.equal(parts[0].name, "addon");
    assert.equal(parts[0].path, join(platform, "torchclip.node"));
    const image = join(root, "test/fixtures/images/rgb420.jpg");
    assert.match(cli("classify", image, "--labels", "a,b", "--model", "tiny"), /Top predictions/);
  });

  it("doctor works in a package without its addon, and says what to install", () => {
    const found = doctorIn("installed", ["package.json", "dist"])({});
    const [advice] = found.advice as string[];
    assert.match(advice, /the package @torchclip\/.* is not installed|there is no prebuilt addon for/);
    assert.ok(!("cmake" in found), "nothing is built there");
  });

  it("doctor works in a clone that is not built, and lists what a build needs", () => {
    const doctor = doctorIn("unbuilt", ["package.json", "dist", "CMakeLists.txt"]);
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
    const adapters = ["ai-sdk", "langchain", "llamaindex", "lancedb"];
    const parts = ["datasets", "eval", "learn", "serve", "finetune", ...adapters];
    const names = ["torchclip", ...parts.map((name) => `torchclip/${name}`)];
    const code = `
      const { createRequire } = await import("node:module");
      const require = createRequire(import.meta.url);
      for (const name of ${JSON.stringify(names)}) {
        const esm = await import(name);
        const cjs = require(name);
        for (const key of Object.keys(esm)) if (esm[key] !== cjs[key]) throw new Error(name + ": " + key);
      }
      const fallback = require("./dist/commonjs.cjs");
      const parts = ${JSON.stringify(parts)}.map((name) => "torchclip/" + name);
      const bundled = ["torchclip", ...parts]; // e0, e1 …
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
