// package.json of the packages that are published, made from the one of the repository.
import { createHash } from "node:crypto";
import { backendOf, packageName, platformOf } from "./platforms.mjs";

/** @typedef {Record<string, unknown> & { version: string }} Manifest */

/** What a clone needs and a package does not; install scripts above all. */
const OF_THE_CLONE = ["scripts", "devDependencies", "overrides", "binary", "gypfile"];

/**
 * `torchclip`: without scripts, with the platform packages as optional dependencies of the same version. They
 * stand here alone: a clone builds its addon, and its `npm ci` works before they are published.
 * @param {Manifest} repository package.json of the repository
 * @param {readonly string[]} platforms
 * @returns {Manifest}
 */
export function mainManifest(repository, platforms) {
  const kept = Object.entries(repository).filter(([key]) => !OF_THE_CLONE.includes(key));
  const optional = platforms.map((name) => [packageName(name), repository.version]);
  return {
    .../** @type {Manifest} */ (Object.fromEntries(kept)),
    files: [.../** @type {string[]} */ (repository.files), "backends.json"],
    preferUnplugged: true, // the addon reads models/tiny.pt, which Plug'n'Play would leave in an archive
    optionalDependencies: Object.fromEntries(optional),
  };
}

/**
 * The package of a platform's binaries. Package managers install it where `os`, `cpu` and `libc` are those of
 * the machine.
 * @param {Manifest} repository
 * @param {string} name
 * @returns {Manifest}
 */
export function platformManifest(repository, name) {
  const where = platformOf(name).libc === "glibc" ? `${name} (glibc 2.28 or later)` : name;
  return {
    ...shared(repository, name),
    description: `The native files of torchclip for ${where}: the Node.js addon, the C library and its headers`,
    preferUnplugged: true,
    main: "torchclip.node",
    files: ["torchclip.node", "lib", "include"],
    ...machineOf(name),
  };
}

/**
 * The package of a backend: its library alone. `torchclip setup` downloads it, so nothing depends on it.
 * @param {Manifest} repository
 * @param {string} name "torch-linux-x64"
 * @param {string} libtorch the version that the library is compiled for
 * @returns {Manifest}
 */
export function backendManifest(repository, name, libtorch) {
  const { platform, library } = backendOf(name);
  return {
    ...shared(repository, name),
    description: `The library of torchclip for libtorch ${libtorch} on ${platform}: npx torchclip setup installs it`,
    files: [library],
    ...machineOf(platform),
  };
}

/** @typedef {{ version: string, libtorch: string, sha256: string }} Pin what `torchclip setup` checks */

/**
 * `backends.json` of `torchclip`: the packages of backends that this release has been packed with.
 * @param {readonly { name: string, version: string, libtorch: string, tarball: Uint8Array }[]} backends
 * @returns {Record<string, Pin>} by the names of the packages
 */
export function pinsOf(backends) {
  const pins = backends.map(({ name, version, libtorch, tarball }) => {
    const sha256 = createHash("sha256").update(tarball).digest("hex");
    return /** @type {const} */ ([packageName(name), { version, libtorch, sha256 }]);
  });
  return Object.fromEntries(pins);
}

/**
 * What the manifests of all native packages have in common.
 * @param {Manifest} repository
 * @param {string} name
 */
function shared(repository, name) {
  const { version, license, homepage, repository: source, bugs, engines } = repository;
  return { name: packageName(name), version, license, homepage, repository: source, bugs, engines };
}

/** @param {string} platform */
function machineOf(platform) {
  const { os, cpu, libc } = platformOf(platform);
  return { os: [os], cpu: [cpu], ...(libc ? { libc: [libc] } : {}) };
}
