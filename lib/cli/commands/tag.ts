import { Option, type Command } from "commander";
import { ARTICLE_PROMPTS } from "../../text/prompts.js";
import { indexModelOptions, probability, whole } from "../options.js";
import { indexArgument, indexRootOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "labels of a vocabulary for the images of an index, as CSV, JSON or XMP sidecars";
const VOCABULARY =
  "labels, one a line; after a tab a least probability of the label, in place of --threshold";
const MULTI_LABEL = [
  "judge each label by itself",
  "a model with the softmax loss (CLIP) needs --negative-template for it, one with the sigmoid loss does not",
].join("; ");
const NEGATIVE = 'what stands against each label, with {} for it or without, e.g. "a photo without a {}"';
const XMP = "write a sidecar IMAGE.xmp beside each image; those of other programs are left as they are";

export function tagCommand(program: Command): void {
  const described = program.command("tag").description(DESCRIPTION);
  indexModelOptions(described)
    .addArgument(indexArgument())
    .requiredOption("-v, --vocabulary <file>", VOCABULARY)
    .option("--template <text...>", "prompt template with {} for the label", ARTICLE_PROMPTS.templates)
    .option("--multi-label", MULTI_LABEL)
    .option("--negative-template <text...>", NEGATIVE)
    .addOption(
      new Option("--threshold <p>", "least probability of a label").argParser(probability).default(0.5),
    )
    .addOption(new Option("-k, --top-k <n>", "most labels of an image; default all").argParser(whole(1)))
    .option("-o, --out <file>", "OUT.csv (row, name, label, probability, cosine) or OUT.json")
    .option("--xmp", XMP)
    .addOption(indexRootOption())
    .option("--force", "tag also with other weights than those that made the index")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../tag.js")).run));
}
