import { join } from "node:path";
import type { ImageLimits } from "../images/types.js";
import type { CaptionSet } from "../datasets/captions/caption-set.js";
import type { RetrievalResult } from "../eval/retrieval.js";
import type { RetrievalManifest } from "../eval/run-manifest.js";
import { csvText } from "../util/csv.js";
import { writeFileWhole } from "../util/files.js";
import { retrievalHtml } from "./retrieval-html.js";

export interface SavedRetrieval {
  results: string;
  queries: string;
  report: string;
}

/** Writes results.json, queries.csv and report.html into a folder, each whole. */
export async function saveRetrieval(
  folder: string,
  data: CaptionSet,
  result: RetrievalResult,
  manifest: RetrievalManifest,
  limits: ImageLimits = {},
): Promise<SavedRetrieval> {
  const files: SavedRetrieval = {
    results: join(folder, "results.json"),
    queries: join(folder, "queries.csv"),
    report: join(folder, "report.html"),
  };
  const { metrics, skipped } = result;
  await writeFileWhole(files.results, `${JSON.stringify({ manifest, metrics, skipped }, null, 2)}\n`);
  await writeFileWhole(files.queries, queriesCsv(result));
  await writeFileWhole(files.report, await retrievalHtml(data, result, manifest, limits));
  return files;
}

/** A line for each query with the rank of its best right answer, 1 for the first place. */
function queriesCsv({ images, captions, imageOf, ranks }: RetrievalResult): string {
  const head = ["direction", "query", "image", "caption", "rank"];
  const rows = [
    ...images.map(({ name }, i) => ["image-to-text", i, name, "", ranks.imageToText[i] + 1]),
    ...captions.map((caption, i) => {
      const { name } = images[imageOf[i]];
      return ["text-to-image", i, name, caption, ranks.textToImage[i] + 1];
    }),
  ];
  return csvText([head, ...rows]);
}
