/**
 * Writes small artifacts with random weights, one of each architecture family of the tests, for gpu_families_test on a
 * machine without Node.js: 35 MB in all. Needs the addon of this machine.
 *
 *   npx tsx scripts/family-artifacts.ts [FOLDER]     default: build-families
 */
import { writeFamilyArtifacts } from "../test/support/family-artifacts.js";

await writeFamilyArtifacts(process.argv[2] ?? "build-families", () => true);
