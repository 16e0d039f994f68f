// `npm run demo`: the main job on the embedded default. Arguments go to `torchclip eval`.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

try {
  await setup();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
}
const run = spawnSync(process.execPath, [join(root, "dist/cli/main.js"), "eval", ...process.argv.slice(2)], {
  stdio: "inherit",
});
process.exit(run.status ?? 1);
