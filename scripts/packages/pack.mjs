// Lays out the packages from what scripts/package compiled, and packs them.
//   node scripts/packages/pack.mjs FOLDER PLATFORM...
// FOLDER/PLATFORM holds a build; the tarballs go to FOLDER/packages.
import { execFileSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { readJson } from "../read-json.mjs";
import { root } from "../setup.mjs";
import { mainManifest, platformManifest } from "./manifests.mjs";
import { packageName, platformOf } from "./platforms.mjs";

const [given, ...platforms] = process.argv.slice(2);
if (!given || platforms.length === 0) throw new Error("usage: pack.mjs FOLDER PLATFORM...");
const folder = resolve(given);
const stage = join(folder, "stage");
const packages = join(folder, "packages");
const repository = /** @type {import("./manifests.mjs").Manifest} */ (readJson(join(root, "package.json")));

for (const made of [stage, packages]) {
  rmSync(made, { recursive: true, force: true });
  mkdirSync(made, { recursive: true });
}
for (const platform of platforms) stagePlatform(platform);
stageMain();
for (const name of ["torchclip", ...platforms]) pack(name);

function stageMain() {
  const to = join(stage, "torchclip");
  mkdirSync(to);
  for (const name of ["dist", "models", "README.md", "CHANGELOG.md", "LICENSE"])
    cpSync(join(root, name), join(to, name), { recursive: true });
  // The SHA-256 of the packages of backends, once a release has them (lib/setup/backends.ts).
  const pins = join(folder, "backends.json");
  if (existsSync(pins)) cpSync(pins, join(to, "backends.json"));
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
  writeFileSync(join(to, "README.md"), readme(platform));
  writeManifest(to, platformManifest(repository, platform));
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

/** @param {string} platform */
function readme(platform) {
  return [
    `# ${packageName(platform)}`,
    "",
    `The native files of [torchclip](${String(repository.homepage)}) for ${platform}. \`npm install torchclip\``,
    "installs this package where it fits. `lib` and `include` hold the C library for other languages.",
    "",
  ].join("\n");
}

/**
 * @param {string} to
 * @param {import("./manifests.mjs").Manifest} manifest
 */
function writeManifest(to, manifest) {
  writeFileSync(join(to, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/**
 * npm gives all files one time stamp and sorts them, so that the tarball depends on the content alone.
 * @param {string} name
 */
function pack(name) {
  const options = ["--silent", "--ignore-scripts", "--pack-destination", packages];
  const before = new Set(readdirSync(packages));
  execFileSync("npm", ["pack", ...options], {
    cwd: join(stage, name),
    stdio: ["ignore", "ignore", "inherit"],
  });
  for (const file of readdirSync(packages).filter((one) => !before.has(one))) {
    const bytes = statSync(join(packages, file)).size;
    process.stdout.write(`${file}: ${(bytes / 1e6).toFixed(2)} MB\n`);
  }
}
