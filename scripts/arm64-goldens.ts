/**
 * Writes what golden_test (native/test) needs and only JavaScript can make: the artifacts of the random
 * models of test/goldens/families.json whose two towers run without libtorch, as family-NUMBER.pt, and the
 * transforms of transformers' image processors as processors.json. Needs the addon of this machine.
 *
 *   npx tsx scripts/arm64-goldens.ts FOLDER
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { nativeTransform } from "../lib/models/config.js";
import { imageProcessorHints } from "../lib/models/import/image-processor.js";
import { writeFamilyArtifacts } from "../test/support/family-artifacts.js";
import { golden } from "../test/support/index.js";
import type { PreprocessingCase } from "../test/support/preprocessing.js";

const folder = process.argv[2];
if (!folder) {
  process.stderr.write("usage: npx tsx scripts/arm64-goldens.ts FOLDER\n");
  process.exit(2);
}
mkdirSync(folder, { recursive: true });

const { transforms } = golden("configs") as { transforms: PreprocessingCase[] };
const processors = transforms.map(({ processor = {}, ...rest }) => {
  const hints = imageProcessorHints(processor, false, rest.size, "preprocessor_config.json");
  const { filter, ...transform } = nativeTransform(hints, rest.size);
  return { ...rest, ...transform, interpolation: filter };
});
writeFileSync(join(folder, "processors.json"), JSON.stringify(processors));

const unwanted = await writeFamilyArtifacts(
  folder,
  ({ imageRunner, textRunner }) => imageRunner.startsWith("fast") && textRunner.startsWith("fast"),
);
for (const name of unwanted) process.stdout.write(`${name}: a tower of it needs libtorch\n`);
