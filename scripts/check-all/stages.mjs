// The stages of scripts/check-all.mjs.

/**
 * @typedef {object} Stage
 * @property {string} name
 * @property {[program: string, ...args: string[]]} command in the root of the project
 * @property {Record<string, string>} [env] what is added to the environment
 * @property {string} [missing] why the stage cannot run; it counts as failed
 */

const NATIVE_READERS = ["json", "text", "tokenizer", "npy", "artifact"];

/** @type {(script: string, ...args: string[]) => Stage["command"]} */
const typeScript = (script, ...args) => ["node", "--import", "tsx", script, ...args];

/**
 * Mocha's suites as a whole with the kernels of an instruction set.
 * @param {string} isa
 * @returns {Stage}
 */
const mochaWith = (isa) => ({
  name: `mocha-${isa}`,
  command: ["node", "node_modules/mocha/bin/mocha.js", "--reporter", "dot", "test/**/*.test.ts"],
  env: { TORCHCLIP_ISA: isa },
});

/**
 * All stages in their order.
 * @param {{ seconds: string, libtorch: string[] }} options
 * @returns {Stage[]}
 */
export function stages({ seconds, libtorch }) {
  const sanitizers = ["address", "thread", "addon"];
  return [
    { name: "ctest", command: ["ctest", "--test-dir", "build", "--output-on-failure", "--no-tests=error"] },
    mochaWith("avx2"),
    mochaWith("none"),
    ...sanitizers.map((part) => stage(`sanitize-${part}`, "scripts/sanitize", part)),
    ...NATIVE_READERS.map((reader) => stage(`fuzz-native-${reader}`, "scripts/fuzz-native", reader, seconds)),
    stage("fuzz-formats", ...typeScript("scripts/fuzz-formats.ts", "--seconds", seconds)),
    stage("faults-kill", ...typeScript("scripts/faults/kill.ts", "--count", "100")),
    stage("faults-disk-full", ...typeScript("scripts/faults/disk-full.ts", "--count", "50")),
    stage("faults-queue", ...typeScript("scripts/faults/queue.ts", "--count", "50")),
    stage("attack", ...typeScript("scripts/attack/run.ts")),
    {
      ...stage("libtorch-versions", "scripts/libtorch-versions", ...libtorch),
      missing: libtorch.length > 0 ? undefined : "needs --libtorch FOLDER",
    },
    stage("other-systems", "node", "scripts/other-systems.mjs"),
    stage("dependents", "node", "scripts/dependents.mjs"),
    stage("soak", "node", "--expose-gc", "bench/soak.mjs", "--minutes", "15"),
  ];
}

/** @type {(name: string, ...command: Stage["command"]) => Stage} */
const stage = (name, ...command) => ({ name, command });

/**
 * The stages that are named, or whose group is, and the names that mean none.
 * @param {Stage[]} all
 * @param {string[]} [names] default: all stages
 */
export function selected(all, names) {
  if (names === undefined) return { stages: all, unknown: [] };
  /** @type {(one: Stage, name: string) => boolean} */
  const isNamed = (one, name) => one.name === name || one.name.startsWith(`${name}-`);
  return {
    stages: all.filter((one) => names.some((name) => isNamed(one, name))),
    unknown: names.filter((name) => !all.some((one) => isNamed(one, name))),
  };
}
