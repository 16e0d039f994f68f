// What `npm run demo`, `npm test` and `npm run build` share: does what is missing, says what it does, does
// nothing twice.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..");
/** @param {string} text */
const note = (text) => process.stderr.write(`${text}\n`);

/** Packages, TypeScript, libtorch, addon. */
export async function setup() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19))
    throw new Error(`torchclip needs Node >= 20.19; this is ${process.version}`);
  packages();
  typescript();
  const { buildNative } = await import("../dist/setup/build.js");
  const { progressBar } = await import("../dist/cli/io.js");
  await buildNative(note, progressBar("libtorch"));
}

/** `npm run prepack`: a package always holds the JavaScript of these sources; nothing native is compiled. */
function prepack() {
  if (!existsSync(join(root, "node_modules/typescript"))) packages();
  typescript();
}

function packages() {
  const lock = join(root, "package-lock.json");
  if (!existsSync(lock)) return; // a copy of the sources beside packages that are there
  once("packages", "node_modules/.torchclip-packages", [lock], "npm ci", () =>
    npm(["ci", "--no-audit", "--no-fund"]),
  );
}

function typescript() {
  const folder = join(root, "lib");
  if (!existsSync(folder)) return; // a copy with dist/ only
  const sources = readdirSync(folder, { recursive: true, encoding: "utf8" })
    .map((f) => join(folder, f))
    .filter((f) => statSync(f).isFile());
  const scripts = ["scripts/commonjs.mjs", "scripts/read-json.mjs"];
  const others = ["tsconfig.json", "package.json", ...scripts].map((f) => join(root, f));
  once("TypeScript", "dist/.torchclip-sources", [...sources.sort(), ...others], "compiling", () => {
    // What a deleted source left would be packed.
    rmSync(join(root, "dist"), { recursive: true, force: true });
    for (const script of ["node_modules/typescript/bin/tsc", "scripts/commonjs.mjs"])
      execFileSync(process.execPath, [join(root, script)], { cwd: root, stdio: ["ignore", 2, 2] });
  });
}

/**
 * Runs `work` unless its inputs are those of the last time.
 * @param {string} what
 * @param {string} stampFile
 * @param {string[]} inputs
 * @param {string} doing
 * @param {() => void} work
 */
function once(what, stampFile, inputs, doing, work) {
  const hash = createHash("sha256");
  for (const file of inputs) hash.update(file.slice(root.length)).update(readFileSync(file));
  const key = hash.digest("hex");
  const stamp = join(root, stampFile);
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === key) {
    note(`${what}: up to date`);
    return;
  }
  note(`${what}: ${doing}`);
  work();
  writeFileSync(stamp, key);
}

/** @param {string[]} args */
function npm(args) {
  // onnxruntime-node (a neighbour in tests) would fetch CUDA libraries that nothing here uses.
  const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL: "skip" };
  execFileSync("npm", args, {
    env,
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
    shell: process.platform === "win32",
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url) && process.argv[2] === "--pack") prepack();
