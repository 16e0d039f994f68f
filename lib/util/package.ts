import { createRequire } from "node:module";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { join, dirname } from "node:path";

/** The folder of this package: that of package.json. */
export const packageRoot = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

/** Whether this is a clone of the repository, which is built here; a package has no sources to build from. */
export function isClone(): boolean {
  return existsSync(join(packageRoot, "CMakeLists.txt"));
}

/** The version in package.json. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(join(packageRoot, "package.json"), "utf8")) as { version: string }).version;
}

/** The version of an installed dependency, from the package.json above its entry point. */
export function versionOf(name: string): string {
  let folder = dirname(createRequire(import.meta.url).resolve(name));
  for (;;) {
    try {
      const found = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
        name?: string;
        version?: string;
      };
      if (found.name === name && found.version) return found.version;
    } catch {
      // Not in this folder: look above.
    }
    if (dirname(folder) === folder) return "unknown";
    folder = dirname(folder);
  }
}
