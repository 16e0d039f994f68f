// The steps of scripts/package-test.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readJson } from "../../read-json.mjs";
import { root } from "../../setup.mjs";
import { backendSteps } from "./backend.mjs";
import { inDebian, srv, useNode } from "./chroot.mjs";
import { serverSteps } from "./server.mjs";
import { downloads } from "./sizes.mjs";
import { tool } from "./tools.mjs";

/** @typedef {import("./main.mjs").Step} Step */

const LABELS = '"a red circle,a blue star"';
const CLASSIFY = `torchclip classify /srv/photo.png --labels ${LABELS}`;
const BUILD_TOOLS = ["cc", "c++", "gcc", "g++", "clang", "make", "cmake", "python", "python3"];

/**
 * Fails unless the red circle was the first label.
 * @param {string} output of `torchclip classify`
 */
function mustBeRedCircle(output) {
  if (!/^\s*a red circle:?\s+\d/m.test(output.split("a blue star")[0]))
    throw new Error(`not a red circle:\n${output}`);
  return "";
}

/**
 * The environment in which the package managers ask the registry of this machine.
 * @param {string} url
 */
function managerEnvironment(url) {
  return {
    npm_config_registry: url,
    npm_config_audit: "false",
    npm_config_fund: "false",
    npm_config_update_notifier: "false",
    YARN_NPM_REGISTRY_SERVER: url,
    YARN_UNSAFE_HTTP_WHITELIST: "127.0.0.1",
    YARN_ENABLE_IMMUTABLE_INSTALLS: "0",
    YARN_ENABLE_TELEMETRY: "0",
  };
}

/**
 * What is done in the Debian. The first step makes /srv/app, which later ones use.
 * @param {import("./registry.mjs").Registry} registry
 * @returns {Step[]}
 */
export function debianSteps({ url, storage }) {
  const env = managerEnvironment(url);
  const shell = (/** @type {string} */ script) => inDebian(script, { env });
  return [
    {
      name: "the Debian has no tool of a build",
      work: () => shell(`for tool in ${BUILD_TOOLS.join(" ")}; do ! command -v $tool; done`),
    },
    {
      name: "npm install, npx torchclip classify",
      work: () =>
        mustBeRedCircle(
          shell(
            `mkdir /srv/app && cd /srv/app && npm init -y >&2 && npm install torchclip >&2 && npx ${CLASSIFY}`,
          ),
        ),
    },
    {
      name: "what npm install downloads",
      work: () => downloads(join(srv, "app"), storage),
    },
    ...installerSteps(shell),
    ...placeSteps(shell),
    ...programSteps(shell),
    ...runtimeSteps(shell),
    ...dockerSteps(shell),
    ...backendSteps(shell, url),
    ...serverSteps(shell),
  ];
}

/** @typedef {(script: string) => string} Shell */

/** @type {(shell: Shell) => Step[]} */
function installerSteps(shell) {
  const project = (/** @type {string} */ name) =>
    `cd /srv && mkdir ${name} && cd ${name} && echo '{"private":true}' > package.json`;
  const yarn4 = `${project("yarn4")} && echo "nodeLinker: node-modules" > .yarnrc.yml && yarn4 add torchclip >&2`;
  const pnp = `${project("pnp")} && touch yarn.lock && yarn4 add torchclip >&2`;
  return [
    {
      name: "npm install from a warm cache to the first classification",
      work: () => {
        const start = performance.now();
        const script = `${project("warm")} && npm install --prefer-offline torchclip >&2 && npx ${CLASSIFY}`;
        mustBeRedCircle(shell(script));
        return `${((performance.now() - start) / 1000).toFixed(1)} s (10 s is the goal)`;
      },
    },
    {
      name: "npm ci",
      work: () => mustBeRedCircle(shell(`cd /srv/app && npm ci >&2 && npx ${CLASSIFY}`)),
    },
    {
      name: "pnpm",
      work: () =>
        mustBeRedCircle(shell(`${project("pnpm")} && pnpm add torchclip >&2 && pnpm exec ${CLASSIFY}`)),
    },
    {
      name: "yarn 1",
      work: () =>
        mustBeRedCircle(shell(`${project("yarn1")} && yarn1 add torchclip >&2 && yarn1 -s run ${CLASSIFY}`)),
    },
    { name: "yarn 4, node_modules", work: () => mustBeRedCircle(shell(`${yarn4} && yarn4 run ${CLASSIFY}`)) },
    { name: "yarn 4, Plug'n'Play", work: () => mustBeRedCircle(shell(`${pnp} && yarn4 run ${CLASSIFY}`)) },
  ];
}

/** @type {(shell: Shell) => Step[]} */
function placeSteps(shell) {
  return [
    {
      name: "a user without rights, node_modules read-only",
      work: () => {
        const rights = "chown -R 0:0 /srv/app && chmod -R a-w /srv/app";
        inDebian(rights, { user: "0:0" });
        const output = shell(`cd /srv/app && ! touch node_modules/x 2>/dev/null && npx ${CLASSIFY}`);
        inDebian("chown -R 1000:1000 /srv/app && chmod -R u+w /srv/app", { user: "0:0" });
        return mustBeRedCircle(output);
      },
    },
    {
      name: "a folder with spaces",
      work: () =>
        mustBeRedCircle(
          shell(
            `mkdir "/srv/a b" && cp -r /srv/app "/srv/a b/my app" && cd "/srv/a b/my app" && npx ${CLASSIFY}`,
          ),
        ),
    },
    {
      name: "node_modules copied to another place",
      work: () =>
        mustBeRedCircle(
          shell(
            "mkdir -p /srv/home/other && cp -r /srv/app/node_modules /srv/home/other && " +
              `cd /srv/home/other && npx ${CLASSIFY}`,
          ),
        ),
    },
    {
      name: "without its platform package: the error names the command",
      work: () => {
        const copied = "cp -r /srv/app /srv/bare && cd /srv/bare && rm -r node_modules/@torchclip";
        const output = shell(`${copied} && ! npx ${CLASSIFY} 2>&1`);
        if (!/@torchclip\/linux-x64 .* is not installed[^]*npm install --include=optional/.test(output))
          throw new Error(output);
        return "";
      },
    },
  ];
}

const WORKER = `
import { Worker, isMainThread, parentPort } from "node:worker_threads";
import { load } from "torchclip";
if (isMainThread) {
  const worker = new Worker(new URL(import.meta.url));
  worker.on("message", (label) => console.log(label + ": 1"));
} else {
  const clip = await load("tiny");
  const [best] = await clip.classify("/srv/photo.png", ["a red circle", "a blue star"]);
  await clip.close();
  parentPort.postMessage(best.label);
}`;
const BUNDLED = `
import { load } from "torchclip";
const clip = await load("tiny");
const [best] = await clip.classify("/srv/photo.png", ["a red circle", "a blue star"]);
await clip.close();
console.log(best.label + ": 1");`;

/** @type {(shell: Shell) => Step[]} */
function programSteps(shell) {
  const write = (/** @type {string} */ name, /** @type {string} */ text) =>
    writeFileSync(join(srv, "app", name), text);
  const bundle =
    "npx esbuild bundled.mjs --bundle --platform=node --format=esm --external:torchclip --outfile=out.mjs";
  const test = "export SMOKE_IMAGE=/srv/photo.png; cd /srv/app && cp /srv/dependent/*test* .";
  return [
    {
      name: "worker_threads",
      work: () => {
        write("worker.mjs", WORKER);
        return mustBeRedCircle(shell("cd /srv/app && node worker.mjs"));
      },
    },
    {
      name: "esbuild, torchclip external",
      work: () => {
        write("bundled.mjs", BUNDLED);
        return mustBeRedCircle(
          shell(`cd /srv/app && npm install --save-dev esbuild@0.28.2 >&2 && ${bundle} >&2 && node out.mjs`),
        );
      },
    },
    {
      name: "vitest",
      work: () => {
        shell(
          `${test} && npm install --save-dev vitest@4.1.12 >&2 && npx vitest run --globals vitest.test.mjs`,
        );
        return "";
      },
    },
    {
      name: "Jest",
      work: () => {
        shell(
          `${test} && npm install --save-dev jest@30.5.2 >&2 && npx jest --testMatch '**/commonjs.test.cjs' --ci`,
        );
        return "";
      },
    },
  ];
}

/** @type {(shell: Shell) => Step[]} */
function runtimeSteps(shell) {
  return ["node22", "node24", "node26"].map((name) => ({
    name: `${name}: program and command line`,
    work: () => {
      useNode(name);
      try {
        const version = shell("node --version").trim();
        shell("cd /srv/app && cp /srv/dependent/smoke.mjs . && node smoke.mjs /srv/photo.png");
        mustBeRedCircle(shell(`cd /srv/app && npx ${CLASSIFY}`));
        return version;
      } finally {
        useNode("node22");
      }
    },
  }));
}

/**
 * The steps of docker/Dockerfile; --omit=dev takes the place of its image without them.
 * @type {(shell: Shell) => Step[]}
 */
function dockerSteps(shell) {
  const health =
    "fetch('http://127.0.0.1:18080/health').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))";
  const serve = [
    "cd /srv/docker && export NODE_ENV=production",
    "npm ci --omit=dev >&2 && cp /srv/server.mjs .",
    "node server.mjs 18080 & server=$!",
    `for i in 1 2 3 4 5 6 7 8 9 10; do node -e "${health}" && break || sleep 1; done`,
    `node -e "${health}"`,
    "kill $server && wait $server",
  ].join("\n");
  return [
    {
      name: "the steps of docker/Dockerfile: npm ci, server, health check, SIGTERM",
      work: () => {
        shell("mkdir /srv/docker && cd /srv/docker && npm init -y >&2");
        shell("cd /srv/docker && npm install --package-lock-only torchclip >&2");
        shell(serve);
        return "";
      },
    },
  ];
}

/**
 * The C library of the package, with this machine's compiler.
 * @param {string} packages
 * @param {string} folder for temporary files
 * @returns {Step[]}
 */
export function cSteps(packages, folder) {
  return [
    {
      name: "a C program with the package's library and headers",
      work: () => {
        const at = mkdtempSync(join(folder, "c-"));
        const [tarball] = readdirSync(packages).filter((name) => name.startsWith("torchclip-linux-x64-"));
        execFileSync("tar", ["-xzf", join(packages, tarball), "-C", at]);
        const lib = join(at, "package/lib");
        const link = ["-L", lib, "-l:libtorchclip.so.1", `-Wl,-rpath,${lib}`, "-o", join(at, "encode")];
        const source = join(root, "native/examples/encode.c");
        execFileSync("cc", [source, "-I", join(at, "package/include"), ...link], { stdio: "pipe" });
        const output = execFileSync(join(at, "encode"), [join(root, "models/tiny.pt")], { encoding: "utf8" });
        if (!/cosine of the image and "a red square": -?\d/.test(output)) throw new Error(output);
        return "";
      },
    },
  ];
}

/**
 * The package of ARM64 in an emulator.
 * @param {string} url
 * @param {string} folder
 * @param {string} photo
 * @returns {Step[]}
 */
export function emulatedSteps(url, folder, photo) {
  return [
    {
      name: "linux-arm64 in an emulator: torchclip classify",
      work: () => {
        const at = join(folder, "arm64");
        mkdirSync(at);
        writeFileSync(join(at, "package.json"), '{"private":true}');
        const options = ["--registry", url, "--os=linux", "--cpu=arm64", "--no-audit", "--no-fund"];
        execFileSync("npm", ["install", "torchclip", ...options], { cwd: at, stdio: "pipe" });
        if (!existsSync(join(at, "node_modules/@torchclip/linux-arm64")))
          throw new Error("its package is missing");
        const main = join(at, "node_modules/torchclip/dist/cli/main.js");
        const args = [main, "classify", photo, "--labels", "a red circle,a blue star"];
        const node = tool("nodeArm64/bin/node");
        const emulated = ["-L", "/usr/aarch64-linux-gnu", node, ...args];
        const { version } = /** @type {{ version: string }} */ (
          readJson(join(at, "node_modules/torchclip/package.json"))
        );
        mustBeRedCircle(execFileSync("qemu-aarch64", emulated, { cwd: at, encoding: "utf8", stdio: "pipe" }));
        return `torchclip ${version}`;
      },
    },
  ];
}
