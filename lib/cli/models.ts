import type { Command } from "commander";
import { MODELS } from "../models/registry.js";

export function modelsCommand(program: Command): void {
  program
    .command("models")
    .description("the models known by name")
    .option("--json", "print JSON")
    .action((flags: { json?: boolean }) => {
      if (flags.json) {
        const shown = MODELS.map(({ name, aliases, description, licence, published }) => ({ name, aliases, description, licence, published }));
        process.stdout.write(`${JSON.stringify(shown, null, 2)}\n`);
        return;
      }
      const width = Math.max(...MODELS.map((m) => m.name.length));
      for (const m of MODELS) {
        const also = m.aliases.length ? ` (also ${m.aliases.join(", ")})` : "";
        process.stdout.write(`${m.name.padEnd(width)}  ${m.description}${also}; licence ${m.licence}\n`);
      }
    });
}
