import { Option, type Command } from "commander";
import { ARTICLE_PROMPTS } from "../../text/prompts.js";
import { indexModelOptions, whole } from "../options.js";
import { indexArgument, indexRootOption } from "./index-options.js";
import { loaded } from "./loaded.js";

const DESCRIPTION = "clusters of the images of an index by k-means, with labels from a vocabulary";
const LABEL = "name each cluster by the labels of a file, one a line, that are nearest to its centroid";
const OUT = "OUT.csv (a line for each row of the index) or OUT.json";

export function clusterCommand(program: Command): void {
  const described = program.command("cluster").description(DESCRIPTION);
  indexModelOptions(described)
    .addArgument(indexArgument())
    .addOption(new Option("-k, --clusters <n>", "how many clusters").argParser(whole(1)).default(10))
    .addOption(new Option("--iterations <n>", "most rounds of k-means; default 50").argParser(whole(1)))
    .addOption(new Option("--seed <n>", "seed of the first centroids").argParser(whole(0)).default(0))
    .option("--label <vocabulary>", LABEL)
    .option("--template <text...>", "prompt template with {} for the label", ARTICLE_PROMPTS.templates)
    .option("-o, --out <file>", OUT)
    .option("--sheet <file>", "a contact sheet of the images nearest to each centroid: .png or .html")
    .addOption(indexRootOption())
    .option("--force", "label also with other weights than those that made the index")
    .option("--json", "print JSON")
    .action(loaded(async () => (await import("../cluster.js")).run));
}
