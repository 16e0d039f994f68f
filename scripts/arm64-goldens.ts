/**
 * Writes what golden_test (native/test) needs and only JavaScript can make: the artifacts of the random
 * models of test/goldens/families.json whose two towers run without libtorch, as family-NUMBER.pt, and the
 * transforms of transformers' image processors as processors.json. Needs the addon of this machine.
 *
 *   npx tsx scripts/arm64-goldens.ts FOLDER
 */
import { copyFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { load } from "../lib/index.js";
import { nativeTransform } from "../lib/models/config.js";
import { imageProcessorHints } from "../lib/models/import/image-processor.js";
import { families, writeFamilyFolder } from "../test/support/families.js";
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

const work = join(folder, "work");
rmSync(work, { recursive: true, force: true });
mkdirSync(work);
for (const [number, c] of families.cases.entries()) {
  const artifact = join(folder, `family-${number}.pt`);
  if (existsSync(artifact)) continue;
  const source = writeFamilyFolder(c, join(work, String(number)), true);
  const clip = await load(source, { cacheDir: work, device: "cpu" });
  const { imageRunner, textRunner, path } = clip.info;
  await clip.close();
  if (imageRunner.startsWith("fast") && textRunner.startsWith("fast")) copyFileSync(path, artifact);
  else process.stdout.write(`${c.name}: a tower of it needs libtorch\n`);
}
rmSync(work, { recursive: true });
