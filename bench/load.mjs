// From the start of a process to a loaded model, both towers, against @huggingface/transformers: fresh
// processes in turn.
//   node bench/load.mjs FOLDER [--rounds 7]      FOLDER as in bench/models.py, with model.pt
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { machine, median } from "./rounds.mjs";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "7" }, child: { type: "string" } },
});
const folder = positionals[0];

if (values.child === "ours") {
  const { load } = await import("torchclip");
  await load(join(folder, "model.pt"), { device: "cpu" });
} else if (values.child) {
  const { CLIPVisionModelWithProjection, CLIPTextModelWithProjection } =
    await import("@huggingface/transformers");
  const options = { dtype: "fp32", local_files_only: true };
  await CLIPVisionModelWithProjection.from_pretrained(folder, options);
  if (values.child === "both") await CLIPTextModelWithProjection.from_pretrained(folder, options);
}
if (values.child) {
  process.stdout.write(String(performance.now()));
  process.exit(0);
}

const names = {
  ours: "torchclip, both towers",
  both: "transformers.js, both towers",
  image: "transformers.js, image tower alone",
};
const times = Object.fromEntries(Object.keys(names).map((name) => [name, []]));
for (let round = -1; round < Number(values.rounds); round++) {
  for (const name of Object.keys(names)) {
    const ms = Number(
      execFileSync(process.execPath, [fileURLToPath(import.meta.url), folder, "--child", name], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "ignore"],
      }),
    );
    if (round >= 0) times[name].push(ms); // the first round fills the page cache
  }
}
for (const [name, text] of Object.entries(names)) {
  const list = times[name];
  const ratios = list.map((ms, i) => ms / times.ours[i]);
  console.log(
    `${text}: ${median(list).toFixed(0)} ms (${Math.min(...list).toFixed(0)} to ${Math.max(...list).toFixed(0)}); against ours ${median(ratios).toFixed(2)} × (${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)})`,
  );
}
console.log(machine());
