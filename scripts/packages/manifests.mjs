// package.json of the packages that are published, made from the one of the repository.
import { packageName, platformOf } from "./platforms.mjs";

/** @typedef {Record<string, unknown> & { version: string }} Manifest */

/** What a clone needs and a package does not; install scripts above all. */
const OF_THE_CLONE = ["scripts", "devDependencies", "binary", "gypfile"];

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
  const { os, cpu, libc } = platformOf(name);
  const { version, license, homepage, repository: source, bugs, engines } = repository;
  const where = libc === "glibc" ? `${name} (glibc 2.28 or later)` : name;
  return {
    name: packageName(name),
    version,
    description: `The native files of torchclip for ${where}: the Node.js addon, the C library and its headers`,
    license,
    homepage,
    repository: source,
    bugs,
    engines,
    preferUnplugged: true,
    main: "torchclip.node",
    files: ["torchclip.node", "lib", "include"],
    os: [os],
    cpu: [cpu],
    ...(libc ? { libc: [libc] } : {}),
  };
}
