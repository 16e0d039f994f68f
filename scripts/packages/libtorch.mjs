// Prints the folder of the libtorch that backends of packages are compiled for: the version that
// `torchclip setup torch` installs, from the same pinned sources. It is fetched where the cache does not hold it.
import { findLibtorch, PINNED_SOURCES } from "../../dist/setup/libtorch.js";

const note = (/** @type {string} */ text) => process.stderr.write(`${text}\n`);
process.stdout.write(`${await findLibtorch({ flavour: "cpu", sources: PINNED_SOURCES, note })}\n`);
