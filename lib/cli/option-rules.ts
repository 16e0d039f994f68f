import type { Command } from "commander";
import { TorchclipError } from "../errors.js";

/**
 * Throws E_ARGUMENT for the first of these options that stands on the command line, where it would have no effect.
 *
 * @param options Long names without dashes, e.g. "negative-template".
 * @param reason Why, and what to give: "has no meaning with --probe".
 *
 * @example
 * if (flags.method !== "knn") refuseGiven(command, ["neighbours"], "belongs to --method knn");
 */
export function refuseGiven(command: Command, options: readonly string[], reason: string): void {
  const given = command.options.find(
    (option) =>
      options.includes(option.long?.slice(2) ?? "") &&
      command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (given === undefined) return;
  const message = `${given.long} ${reason}`;
  throw new TorchclipError("E_ARGUMENT", message, { subject: given.attributeName() });
}
