import { Option, type Command } from "commander";
import { mirrorOptions } from "../options.js";
import { loaded } from "./loaded.js";

const LIST = "all names, or those that hold every word of the filter (the default)";
const FILTER = "words of the name, alias or description; the case does not matter";
const PULL = "downloads and imports; asks the hub for a newer revision where it is installed already";

export function modelsCommand(program: Command): void {
  const models = program
    .command("models")
    .description("the models known by name; installs, checks and removes them");
  models
    .command("list", { isDefault: true })
    .description(LIST)
    .argument("[filter...]", FILTER)
    .addOption(new Option("--sort <column>", "the order").choices(["name", "parameters", "imagenet"]))
    .option("--installed", "only those in the cache")
    .option("--json", "print JSON")
    .option("--cache-dir <folder>", "where models are kept")
    .action(loaded(async () => (await import("../model-list.js")).list));
  const one = (name: string, description: string) =>
    models
      .command(`${name} <model...>`)
      .description(description)
      .option("--cache-dir <folder>", "where models are kept");
  mirrorOptions(one("pull", PULL)).action(loaded(async () => (await import("../models.js")).pull));
  one("path", "prints the artifact of an installed model").action(
    loaded(async () => (await import("../models.js")).path),
  );
  one("verify", "reads an installed model from end to end against its checksums").action(
    loaded(async () => (await import("../models.js")).verify),
  );
  one("rm", "removes an installed model")
    .option("--weights", "also the downloaded files, in the cache that Python shares")
    .action(loaded(async () => (await import("../models.js")).remove));
}
