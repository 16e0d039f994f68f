// `npm run check`: types, lint and format of TypeScript and C++, lint of Python and shell scripts, the layers,
// and the package's entry points as publint and @arethetypeswrong see them (dist/ must be built).
// With --fix (`npm run format`) it mends what it can.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./setup.mjs";

const fix = process.argv.includes("--fix");
const bin = (...path) => [process.execPath, join(root, "node_modules", ...path)];
const sources = readdirSync(join(root, "native"), { recursive: true })
  .filter((f) => /\.(cpp|h|hpp|cu|c)$/.test(f))
  .map((f) => join("native", f));

/** Files of scripts/ that begin as a program of bash or sh, and the one that CI runs. */
function shellScripts() {
  const names = readdirSync(join(root, "scripts"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(mjs|ts|py|json)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name));
  return [join(root, ".ci/run"), ...names].filter((file) =>
    /^#!.*\b(ba)?sh\b/.test(readFileSync(file, "utf8")),
  );
}

const steps = [
  ["types", [...bin("typescript/bin/tsc"), "--noEmit", "-p", "test/tsconfig.json"]],
  [
    "lint",
    [
      ...bin("eslint/bin/eslint.js"),
      "lib",
      "test",
      "scripts",
      "bench",
      "examples",
      ...(fix ? ["--fix"] : []),
    ],
  ],
  [
    "format of TypeScript",
    [
      ...bin("prettier/bin/prettier.cjs"),
      fix ? "--write" : "--check",
      "--log-level",
      "warn",
      "lib",
      "test",
      "scripts",
      "bench",
    ],
  ],
  ["lint of Python (ruff)", ["ruff", "check", "--quiet", ...(fix ? ["--fix"] : []), "bench", "scripts"]],
  ["lint of shell scripts (shellcheck)", ["shellcheck", "--severity=warning", ...shellScripts()]],
  ["layers", [process.execPath, "scripts/check-layers.mjs", ...(fix ? ["--write"] : [])]],
  ["format of C++", ["clang-format", ...(fix ? ["-i"] : ["--dry-run", "-Werror"]), ...sources]],
  ...(fix
    ? []
    : [
        ["entry points (publint)", [...bin("publint/src/cli.js"), "--strict"]],
        [
          "entry points (attw)",
          [
            ...bin("@arethetypeswrong/cli/dist/index.js"),
            "--pack",
            ".",
            "--profile",
            "node16",
            "--format",
            "ascii",
            "--quiet",
          ],
        ],
      ]),
];
let failed = false;
for (const [name, [command, ...args]] of steps) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  const why = error?.code === "ENOENT" ? `, ${command} is not installed` : "";
  process.stdout.write(`${name}: ${status === 0 ? "ok" : `FAILED${why}`}\n`);
  failed ||= status !== 0;
}
process.exit(failed ? 1 : 0);
