// Kills `torchclip embed` at random moments, lets it go on, and compares its file with an undisturbed run's.
//   node scripts/kill-embed.mjs [--kills 100] [--pictures 400]
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { root } from "./setup.mjs";

const { values } = parseArgs({ options: { kills: { type: "string", default: "100" }, pictures: { type: "string", default: "400" } } });
const folder = mkdtempSync(join(tmpdir(), "torchclip-kill-"));
const pictures = join(folder, "in");
mkdirSync(pictures);
for (let i = 0; i < Number(values.pictures); i++)
  await sharp({ create: { width: 300, height: 200, channels: 3, background: { r: i & 255, g: (i * 7) & 255, b: (i * 31) & 255 } } })
    .png()
    .toFile(join(pictures, `${String(i).padStart(5, "0")}.png`));
const args = (out) => [join(root, "dist/cli/main.js"), "embed", pictures, "-o", join(folder, out), "-b", "4"];
const start = performance.now();
spawnSync(process.execPath, args("whole.npy"), { stdio: "inherit" });
const whole = performance.now() - start;
let kills = 0;
let rounds = 0;
let same = 0;
while (kills < Number(values.kills)) {
  rounds++;
  for (;;) {
    const child = spawn(process.execPath, args("killed.npy"), { stdio: "ignore" });
    const timer = setTimeout(() => child.kill("SIGKILL"), Math.random() * whole);
    const signal = await new Promise((resolve) => child.on("exit", (_, s) => resolve(s)));
    clearTimeout(timer);
    if (signal) kills++;
    // A killed process's lock would be stale after 15 s: nobody holds it, so it is taken away.
    rmSync(join(folder, "killed.npy.partial.lock"), { recursive: true, force: true });
    if (existsSync(join(folder, "killed.npy")) || kills >= Number(values.kills)) break;
  }
  if (!existsSync(join(folder, "killed.npy"))) spawnSync(process.execPath, args("killed.npy"), { stdio: "ignore" });
  if (readFileSync(join(folder, "killed.npy")).equals(readFileSync(join(folder, "whole.npy")))) same++;
  rmSync(join(folder, "killed.npy"));
}
process.stdout.write(`${kills} kills in ${rounds} runs; ${same} of ${rounds} ended with the undisturbed run's bytes\n`);
rmSync(folder, { recursive: true });
process.exit(same === rounds ? 0 : 1);
