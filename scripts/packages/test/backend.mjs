// The backend for libtorch, as `torchclip setup torch` installs it from the registry of this machine.
import { createHash } from "node:crypto";
import { cpSync, writeFileSync } from "node:fs";
import { get } from "node:http";
import { basename, dirname, join } from "node:path";
import { buffer } from "node:stream/consumers";
import { findLibtorch, PINNED_SOURCES } from "../../../dist/setup/libtorch.js";
import { readJson } from "../../read-json.mjs";
import { srv } from "./chroot.mjs";
import { mustMatch } from "./must.mjs";

/** @typedef {import("./main.mjs").Step} Step */
/** @typedef {import("./steps.mjs").Shell} Shell */
/** @typedef {import("../manifests.mjs").Pin} Pin */

const PACKAGE = "@torchclip/torch-linux-x64";
/** In /srv. */
const LIBTORCH_CACHE = "home/.cache/torchclip/libtorch";
const GENERIC = `
import { load } from "torchclip";
const clip = await load("tiny", { runner: "generic" });
const [best] = await clip.classify("/srv/photo.png", ["a red circle", "a blue star"]);
console.log(clip.info.imageRunner + ": " + best.label);
await clip.close();`;

/**
 * Steps in /srv/app, in their order.
 * @param {Shell} shell
 * @param {string} registry its URL
 * @returns {Step[]}
 */
export function backendSteps(shell, registry) {
  return [
    {
      name: "before setup torch: the error of the generic runner names the command",
      work: () => {
        writeFileSync(join(srv, "app/generic.mjs"), GENERIC);
        const output = shell("cd /srv/app && ! node generic.mjs 2>&1");
        mustMatch(output, /needs libtorch, and .*npx torchclip setup torch/);
        return "";
      },
    },
    {
      name: "setup torch: the registry serves the bytes that backends.json pins",
      work: async () => {
        const { version, sha256 } = pin();
        const served = await download(`${registry}${PACKAGE}/-/${basename(PACKAGE)}-${version}.tgz`);
        const found = createHash("sha256").update(served).digest("hex");
        if (found !== sha256) throw new Error(`the registry serves ${found}, and ${sha256} is pinned`);
        return `${PACKAGE}: ${(served.length / 1e6).toFixed(2)} MB`;
      },
    },
    {
      name: "setup torch: installs the backend, and the generic runner works",
      work: async () => {
        const libtorch = await giveLibtorch(shell);
        shell("cd /srv/app && npx torchclip setup torch");
        mustMatch(shell("cd /srv/app && node generic.mjs"), /^generic fp32 \(TorchScript\): a red circle$/m);
        const list = shell("cd /srv/app && npx torchclip setup --list");
        mustMatch(list, new RegExp(`^backend torch-${pin().version} .*^libtorch ${libtorch} `, "ms"));
        return "the libtorch is a copy of the one in the cache of this machine";
      },
    },
  ];
}

/**
 * Over a connection of its own: fetch() would reuse one that the registry closed while another step ran.
 * @param {string} url
 * @returns {Promise<Buffer>}
 */
function download(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, (response) => {
      buffer(response).then(resolve, reject);
    });
    request.on("error", reject);
  });
}

/** @returns {Pin} */
function pin() {
  const file = join(srv, "app/node_modules/torchclip/backends.json");
  return /** @type {Record<string, Pin>} */ (readJson(file))[PACKAGE];
}

/**
 * Puts this machine's libtorch where `setup` keeps one that it has fetched: 500 MB from its publisher in each run
 * would prove nothing about the packages.
 * @param {Shell} shell
 * @returns {Promise<string>} its name in the cache: "2.13.0-cpu"
 */
async function giveLibtorch(shell) {
  const found = await findLibtorch({ flavour: "cpu", sources: PINNED_SOURCES });
  const name = basename(dirname(found));
  shell(`mkdir -p /srv/${LIBTORCH_CACHE}`);
  cpSync(dirname(found), join(srv, LIBTORCH_CACHE, name), { recursive: true });
  return name;
}
