// Lays out the packages from what scripts/package compiled, and packs them.
//   node scripts/packages/pack.mjs FOLDER PACKAGE...
//     PACKAGE  linux-x64, torch-linux-x64 … (platforms.mjs)
// FOLDER/PLATFORM holds the build of a platform; the tarballs go to FOLDER/packages. `torchclip` is packed last, with
// the SHA-256 of the backends' packages.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { LIBTORCH_VERSION } from "../../dist/setup/libtorch.js";
import { readJson } from "../read-json.mjs";
import { root } from "../setup.mjs";
import { backendManifest, mainManifest, pinsOf, platformManifest } from "./manifests.mjs";
import { backendOf, BACKENDS, packageName, platformOf } from "./platforms.mjs";

const [given, ...names] = process.argv.slice(2);
if (!given || names.length === 0) throw new Error("usage: pack.mjs FOLDER PACKAGE...");
const backends = names.filter((name) => name in BACKENDS);
const platforms = names.filter((name) => !backends.includes(name));
const folder = resolve(given);
const stage = join(folder, "stage");
const packages = join(folder, "packages");
const repository = /** @type {import("./manifests.mjs").Manifest} */ (readJson(join(root, "package.json")));
const LINK = `[torchclip](${String(repository.homepage)})`;

for (const made of [stage, packages]) {
  rmSync(made, { recursive: true, force: true });
  mkdirSync(made, { recursive: true });
}
for (const platform of platforms) {
  stagePlatform(platform);
  pack(platform);
}
const packed = backends.map((name) => {
  stageBackend(name);
  const tarball = readFileSync(pack(name));
  return { name, version: repository.version, libtorch: LIBTORCH_VERSION, tarball };
});
stageMain(pinsOf(packed));
pack("torchclip");

/** @param {Record<string, import("./manifests.mjs").Pin>} pins */
function stageMain(pins) {
  const to = join(stage, "torchclip");
  mkdirSync(to);
  for (const name of ["dist", "models", "README.md", "CHANGELOG.md", "LICENSE"])
    cpSync(join(root, name), join(to, name), { recursive: true });
  writeJson(join(to, "backends.json"), pins);
  writeManifest(to, mainManifest(repository, platforms));
}

/** @param {string} platform */
function stagePlatform(platform) {
  const to = join(stage, platform);
  const from = join(folder, platform);
  const { library } = platformOf(platform);
  mkdirSync(join(to, "lib"), { recursive: true });
  cpSync(join(from, "Release/torchclip.node"), join(to, "torchclip.node"));
  // npm packs no symbolic links: the library has the name that programs are linked with.
  cpSync(realpathSync(libraryIn(from, library)), join(to, "lib", library));
  cpSync(join(root, "native/include"), join(to, "include"), { recursive: true });
  cpSync(join(root, "LICENSE"), join(to, "LICENSE"));
  writeReadme(to, platform, [
    `The native files of ${LINK} for ${platform}. \`npm install torchclip\``,
    "installs this package where it fits. `lib` and `include` hold the C library for other languages.",
  ]);
  writeManifest(to, platformManifest(repository, platform));
}

/** @param {string} name */
function stageBackend(name) {
  const to = join(stage, name);
  const { platform, library } = backendOf(name);
  mkdirSync(to);
  cpSync(libraryIn(join(folder, platform), library), join(to, library));
  cpSync(join(root, "LICENSE"), join(to, "LICENSE"));
  writeReadme(to, name, [
    `The library of ${LINK} for libtorch ${LIBTORCH_VERSION} on ${platform}.`,
    "`npx torchclip setup torch` downloads it together with libtorch.",
  ]);
  writeManifest(to, backendManifest(repository, name, LIBTORCH_VERSION));
}

/**
 * CMake puts the C library beside its sources' folder, cmake-js beside the addon.
 * @param {string} build
 * @param {string} library
 */
function libraryIn(build, library) {
  const places = ["native", "Release"].map((name) => join(build, name, library));
  const found = places.find((place) => existsSync(place));
  if (!found) throw new Error(`none of ${places.join(", ")} is there`);
  return found;
}

/**
 * @param {string} to
 * @param {string} name
 * @param {readonly string[]} lines
 */
function writeReadme(to, name, lines) {
  writeFileSync(join(to, "README.md"), [`# ${packageName(name)}`, "", ...lines, ""].join("\n"));
}

/**
 * @param {string} to
 * @param {import("./manifests.mjs").Manifest} manifest
 */
function writeManifest(to, manifest) {
  writeJson(join(to, "package.json"), manifest);
}

/**
 * @param {string} file
 * @param {unknown} value
 */
function writeJson(file, value) {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * npm gives all files one time stamp and sorts them, so that the tarball depends on the content alone.
 * @param {string} name
 * @returns {string} the tarball
 */
function pack(name) {
  const options = ["--silent", "--ignore-scripts", "--pack-destination", packages];
  const before = new Set(readdirSync(packages));
  execFileSync("npm", ["pack", ...options], {
    cwd: join(stage, name),
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [file] = readdirSync(packages).filter((one) => !before.has(one));
  const tarball = join(packages, file);
  process.stdout.write(`${file}: ${(statSync(tarball).size / 1e6).toFixed(2)} MB\n`);
  return tarball;
}
