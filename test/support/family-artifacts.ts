import { copyFileSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { load, type ClipInfo } from "../../lib/index.js";
import { families, writeFamilyFolder } from "./families.js";

/**
 * Writes the artifacts of the families' random models into a folder, as family-NUMBER.pt; files that are there stay.
 * Returns the names of the models that are not wanted.
 */
export async function writeFamilyArtifacts(
  folder: string,
  isWanted: (info: ClipInfo) => boolean,
): Promise<string[]> {
  const work = join(folder, "work");
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const unwanted: string[] = [];
  for (const [number, c] of families.cases.entries()) {
    const artifact = join(folder, `family-${number}.pt`);
    if (existsSync(artifact)) continue;
    const source = writeFamilyFolder(c, join(work, String(number)), true);
    const clip = await load(source, { cacheDir: work, device: "cpu" });
    await clip.close();
    if (isWanted(clip.info)) copyFileSync(clip.info.path, artifact);
    else unwanted.push(c.name);
  }
  rmSync(work, { recursive: true });
  return unwanted;
}
