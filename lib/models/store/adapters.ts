import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { toTorchclipError } from "../../errors.js";
import { exists, hashFile } from "../../util/files.js";
import { adapterFiles, mergedWithAdapters } from "../import/adapters.js";
import { readArtifact, rewriteArtifact } from "../import/rewrite.js";

/** Raised when merging gives other values, so that what an older version merged is not used. */
const MERGE_VERSION = 1;

/**
 * The artifact of a model with LoRA adapters of PEFT merged in, in their order. It is kept in the folder
 * `adapters` of the cache by the contents of the model's settings and of the adapters, and made where it is
 * not there yet.
 */
export async function artifactWithAdapters(
  artifact: string,
  adapters: readonly string[],
  cacheDir: string,
): Promise<string> {
  try {
    const model = await readArtifact(artifact);
    const files = await Promise.all(adapters.map(adapterFiles));
    const key = createHash("sha256").update(
      JSON.stringify([
        MERGE_VERSION,
        model.config,
        createHash("sha256").update(model.tokenizer).digest("hex"),
      ]),
    );
    for (const { weights, config } of files) {
      key.update(await hashFile(weights, "sha256"));
      key.update(await hashFile(config, "sha256"));
    }
    const merged = join(cacheDir, "adapters", `${key.digest("hex").slice(0, 32)}.pt`);
    if (await exists(merged)) return merged;
    const names = adapters.map((path) => basename(resolve(path))).join(" + ");
    const changed = await mergedWithAdapters(model, files);
    await rewriteArtifact(model, merged, changed, `${model.config.name} + ${names}`);
    return merged;
  } catch (error) {
    throw toTorchclipError(error, "E_INTERNAL", { subject: artifact });
  }
}
