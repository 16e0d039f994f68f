// A registry on this machine: it holds the packages of scripts/package, and passes requests for others on.
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { cache, tool } from "./tools.mjs";

/** @typedef {{ url: string, storage: string, close: () => void }} Registry */

/**
 * Starts verdaccio on the loopback address. Packages of others stay in the cache, so that a second run fetches
 * nothing; torchclip's own are new each time.
 * @returns {Promise<Registry>} `storage`: the folder with the tarballs
 */
export async function startRegistry() {
  const folder = mkdtempSync(join(tmpdir(), "torchclip-registry-"));
  const storage = join(cache, "registry");
  for (const own of ["torchclip", "@torchclip"]) rmSync(join(storage, own), { recursive: true, force: true });
  mkdirSync(storage, { recursive: true });
  const upstream = execFileSync("npm", ["config", "get", "registry"], { encoding: "utf8" }).trim();
  const own = { access: "$all", publish: "$all", unpublish: "$all" };
  const configuration = {
    storage,
    uplinks: { upstream: { url: upstream, maxage: "10d", timeout: "120s" } },
    packages: { torchclip: own, "@torchclip/*": own, "**": { access: "$all", proxy: "upstream" } },
    auth: { htpasswd: { file: join(folder, "users"), max_users: -1 } },
    max_body_size: "100mb",
    log: { type: "stdout", format: "pretty", level: "error" },
  };
  // JSON is YAML too.
  writeFileSync(join(folder, "config.yaml"), JSON.stringify(configuration));
  const port = await freePort();
  const args = [tool("verdaccio/bin/verdaccio"), "--config", join(folder, "config.yaml")];
  const child = spawn(process.execPath, [...args, "--listen", `127.0.0.1:${port}`], { stdio: "ignore" });
  const url = `http://127.0.0.1:${port}/`;
  await answers(url);
  const close = () => {
    child.kill();
    rmSync(folder, { recursive: true, force: true });
  };
  return { url, storage, close };
}

/**
 * Publishes the tarballs of a folder.
 * @param {string} folder
 * @param {string} url
 */
export function publish(folder, url) {
  const tarballs = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  if (tarballs.length === 0) throw new Error(`${folder} holds no packages: run scripts/package`);
  // Anybody may publish there; npm refuses to without a token.
  const login = `--${url.replace(/^http:/, "")}:_authToken=anybody`;
  for (const tarball of tarballs) {
    const args = ["publish", join(folder, tarball), "--registry", url, login, "--ignore-scripts"];
    execFileSync("npm", args, { cwd: tmpdir(), stdio: ["ignore", "pipe", "pipe"] });
  }
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
      server.close(() => {
        resolve(port);
      });
    });
  });
}

/** @param {string} url */
async function answers(url) {
  for (let attempt = 0; attempt < 120; attempt++) {
    const response = await fetch(`${url}-/ping`).catch(() => undefined);
    if (response?.ok) return;
    await sleep(500);
  }
  throw new Error("the registry did not start");
}
