import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { arch, platform } from "node:process";
import { packageRoot } from "./package.js";

/** The scope of the packages that hold native files: `@torchclip/linux-x64` … */
export const SCOPE = "@torchclip";

/** Platforms whose prebuilt packages scripts/package makes and tests, by the ends of their names. */
export const PREBUILT: readonly string[] = ["linux-x64", "linux-arm64"];

/** Platforms whose names are kept, without a package so far. */
export const RESERVED: readonly string[] = [
  "linuxmusl-x64",
  "linuxmusl-arm64",
  "darwin-arm64",
  "darwin-x64",
  "win32-x64",
];

/**
 * The C library of this process on Linux, with its version where it is glibc; undefined elsewhere, and in
 * runtimes that do not tell.
 */
export function libc(): string | undefined {
  if (platform !== "linux") return undefined;
  try {
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    return header.glibcVersionRuntime ? `glibc ${header.glibcVersionRuntime}` : "musl";
  } catch {
    return undefined; // not every runtime has reports
  }
}

/** The end of the name of this platform's package: "linux-x64", "linuxmusl-arm64", "darwin-arm64" … */
export function platformName(): string {
  return `${platform}${libc() === "musl" ? "musl" : ""}-${arch}`;
}

/**
 * The packages that may hold this platform's addon, in the order in which they are tried. Which C library
 * there is takes milliseconds to ask; package managers install the package of the right one.
 */
export function platformPackages(): string[] {
  const names = [`${platform}-${arch}`, ...(platform === "linux" ? [`linuxmusl-${arch}`] : [])];
  return names.map((name) => `${SCOPE}/${name}`);
}

/** The packages of other platforms that are installed, where node_modules was made for one of them. */
export function otherPlatforms(): string[] {
  const own = new Set(platformPackages());
  const folders = [join(packageRoot, "..", SCOPE), join(packageRoot, "node_modules", SCOPE)];
  const found = folders.filter((folder) => existsSync(folder)).flatMap((folder) => readdirSync(folder));
  const known = new Set([...PREBUILT, ...RESERVED]);
  return [...new Set(found)]
    .filter((name) => known.has(name))
    .map((name) => `${SCOPE}/${name}`)
    .filter((name) => !own.has(name))
    .sort();
}
