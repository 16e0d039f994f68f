import { join } from "node:path";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { writeFamilyFolder, type FamilyCase } from "../support/families.js";

/** The artifact of a random model of an architecture family, below a folder. */
export async function familyArtifact(family: FamilyCase, folder: string): Promise<string> {
  const output = join(folder, `${family.name.replaceAll(/\W+/g, "-")}.pt`);
  await importModel(await findSource(writeFamilyFolder(family, output.slice(0, -3), true)), output);
  return output;
}
