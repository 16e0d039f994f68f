// The platforms that have a package of binaries, `@torchclip/NAME`. scripts/package builds and tests those of Linux
// with glibc; the workflow `release` builds the others, which nobody has tested.

/** @typedef {{ os: string, cpu: string, libc?: "glibc" | "musl", library: string }} Platform */

/** @type {Partial<Record<string, Platform>>} */
export const PLATFORMS = {
  "linux-x64": { os: "linux", cpu: "x64", libc: "glibc", library: "libtorchclip.so.1" },
  "linux-arm64": { os: "linux", cpu: "arm64", libc: "glibc", library: "libtorchclip.so.1" },
  "linuxmusl-x64": { os: "linux", cpu: "x64", libc: "musl", library: "libtorchclip.so.1" },
  "linuxmusl-arm64": { os: "linux", cpu: "arm64", libc: "musl", library: "libtorchclip.so.1" },
  "darwin-arm64": { os: "darwin", cpu: "arm64", library: "libtorchclip.1.dylib" },
  "darwin-x64": { os: "darwin", cpu: "x64", library: "libtorchclip.1.dylib" },
  "win32-x64": { os: "win32", cpu: "x64", library: "torchclip.dll" },
};

/** @param {string} name */
export const packageName = (name) => `@torchclip/${name}`;

/** @param {string} name */
export function platformOf(name) {
  const platform = PLATFORMS[name];
  if (!platform) throw new Error(`${name} is none of ${Object.keys(PLATFORMS).join(", ")}`);
  return platform;
}

/** @typedef {{ platform: string, library: string }} Backend `platform`: whose build holds the library */

/**
 * Packages with a library that uses libtorch, `@torchclip/NAME`. `torchclip setup` installs them; they are no
 * dependencies.
 * @type {Partial<Record<string, Backend>>}
 */
export const BACKENDS = {
  "torch-linux-x64": { platform: "linux-x64", library: "libtorchclip_torch.so" },
};

/** @param {string} name */
export function backendOf(name) {
  const backend = BACKENDS[name];
  if (!backend) throw new Error(`${name} is none of ${Object.keys(BACKENDS).join(", ")}`);
  return backend;
}
