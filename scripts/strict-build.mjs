// Compiles all native files with the warnings of native/cmake/Strict.cmake as errors, without writing objects. Needs CMake
// and gcc. TORCHCLIP_LIBTORCH names the libtorch; the default is that of build/.
import { configure, runAll } from "./native/commands.mjs";

const start = performance.now();
const files = configure();
const failed = await runAll(
  files.map(({ command, directory }) => ({ command: `${command} -fsyntax-only`, directory })),
);
const seconds = ((performance.now() - start) / 1000).toFixed(0);
process.stdout.write(`strict build: ${files.length} files in ${seconds} s, ${failed} with warnings\n`);
process.exit(failed ? 1 : 0);
