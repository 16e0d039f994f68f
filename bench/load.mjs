// From the start of a process to a loaded model, both towers, against @huggingface/transformers: fresh
// processes in turn.
//   node bench/load.mjs FOLDER [--rounds 7]      FOLDER as in bench/models.py, with model.pt
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { interleaved, machine, showRatio } from "./rounds.mjs";

const NAMES = {
  ours: "torchclip, both towers",
  both: "transformers.js, both towers",
  image: "transformers.js, image tower alone",
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "7" }, child: { type: "string" } },
});
const [folder] = positionals;

/**
 * What the measured process does: it loads and prints the milliseconds since its start.
 * @param {string} name of NAMES
 */
async function loadAndTell(name) {
  if (name === "ours") {
    const { load } = await import("torchclip");
    await load(join(folder, "model.pt"), { device: "cpu" });
  } else {
    const { CLIPVisionModelWithProjection, CLIPTextModelWithProjection } =
      await import("@huggingface/transformers");
    const options = { dtype: "fp32", local_files_only: true };
    await CLIPVisionModelWithProjection.from_pretrained(folder, options);
    if (name === "both") await CLIPTextModelWithProjection.from_pretrained(folder, options);
  }
  process.stdout.write(String(performance.now()));
  process.exit(0);
}

/**
 * The milliseconds that a fresh process takes.
 * @param {string} name of NAMES
 */
function measure(name) {
  const command = [fileURLToPath(import.meta.url), folder, "--child", name];
  const printed = execFileSync(process.execPath, command, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return Promise.resolve(Number(printed));
}

if (values.child) await loadAndTell(values.child);
const names = Object.keys(NAMES);
const times = await interleaved(
  Object.fromEntries(names.map((name) => [name, () => measure(name)])),
  Number(values.rounds), // the round that does not count fills the page cache
);
for (const [name, text] of Object.entries(NAMES)) {
  const { median, low, high } = times.spread(name);
  console.log(
    `${text}: ${median.toFixed(0)} ms (${low.toFixed(0)} to ${high.toFixed(0)}); ` +
      `against ours ${showRatio(times.ratio(name, "ours"))}`,
  );
}
console.log(machine());
