// docs/check-all.md: a table with the last result of each stage of scripts/check-all.mjs.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { root } from "../setup.mjs";

/** @import { Stage } from "./stages.mjs" */

const FILE = join(root, "docs/check-all.md");
const HEAD = `# Results of the long checks

Written by \`npm run check:all\`, which runs what takes too long for each commit. Each row is the last run of
its stage; \`node scripts/check-all.mjs --list\` prints the commands.

| stage | result | seconds | date | commit | CPU |
|---|---|---|---|---|---|
`;

/** The rows of the table by their stages. */
function rows() {
  const text = existsSync(FILE) ? readFileSync(FILE, "utf8") : "";
  const lines = text.split("\n").filter((line) => /^\| (?!stage )[\w-]+ \|/.test(line));
  return new Map(lines.map((line) => [line.split(" ")[1], line]));
}

export const resultsFile = {
  /**
   * Replaces the row of a stage.
   * @param {{ stage: Stage, result: string, seconds: number, commit: string }} outcome
   */
  put({ stage, result, seconds, commit }) {
    const date = new Date().toISOString().slice(0, 10);
    const cpu = `${cpus()[0].model.trim()}, ${cpus().length} cores`;
    const cells = [stage.name, result.replaceAll("|", "\\|"), seconds, date, commit, cpu];
    const all = rows().set(stage.name, `| ${cells.join(" | ")} |`);
    writeFileSync(FILE, `${HEAD}${[...all.values()].join("\n")}\n`);
  },
};
