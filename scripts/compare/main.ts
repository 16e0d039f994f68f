/**
 * Compares the working tree with the build of another commit on this machine: the bytes of the embeddings of
 * every model family × precision × batch 1, 3 and 32 × instruction set, and, with `--speed`, the speed of the
 * forward pass, preprocessing and search in interleaved rounds.
 *
 *     scripts/compare-builds BASE                     # embeddings; exit status 1 where a byte differs
 *     scripts/compare-builds BASE --speed             # exit status 1 where a case is more than 5 % slower
 *
 *     scripts/compare-builds --addon FILE [--speed]   # the addon of a package against the local build
 *
 * `--isa avx2,none` names the instruction sets (default: the CPU's best, avx2 and none; for the speed the best
 * alone). `--only TEXT` takes the families whose names contain TEXT; `--rounds 9`, `--seconds 0.5` and
 * `--tolerance 5` (per cent) are for the speed. The build of BASE stays in build/compare for the next time.
 */
import { parseArgs } from "node:util";
import { interleaved, machine, showRatio } from "../../bench/rounds.mjs";
import { Build } from "./child.js";
import { familyModels, largeModel } from "./models.js";
import { PRECISIONS, type ComparedModel } from "./protocol.js";
import { builtTree, workingTree } from "./tree.js";

const BATCHES = [1, 3, 32];
/** What loading a model gives that has a tower for TorchScript, with an addon that has no libtorch. */
const NEEDS_LIBTORCH = "E_INTERNAL";
/** Results that were not compared, because the addon of a package has no libtorch. */
let withoutLibtorch = 0;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    speed: { type: "boolean", default: false },
    addon: { type: "string" },
    isa: { type: "string" },
    only: { type: "string", default: "" },
    rounds: { type: "string", default: "9" },
    seconds: { type: "string", default: "0.5" },
    tolerance: { type: "string", default: "5" },
  },
});

/** The embeddings of a model in both builds; returns the lines of what differs and how much was compared. */
async function compareModel(model: ComparedModel, before: Build, after: Build) {
  const problems: string[] = [];
  let compared = 0;
  for (const precision of PRECISIONS) {
    const request = { kind: "embeddings", model, precision, batches: BATCHES } as const;
    const [old, now] = [await before.ask(request), await after.ask(request)];
    if (values.addon && now.load === NEEDS_LIBTORCH) {
      withoutLibtorch += Object.keys(old).length;
      continue;
    }
    for (const name of new Set([...Object.keys(old), ...Object.keys(now)])) {
      compared++;
      if (old[name] === now[name]) continue;
      problems.push(
        `${model.name}, ${precision}, ${name}: ${old[name] ?? "nothing"} → ${now[name] ?? "nothing"}`,
      );
    }
  }
  return { problems, compared };
}

async function compareEmbeddings(base: string, head: string): Promise<boolean> {
  const models = familyModels().filter((model) => model.name.includes(values.only));
  let same = true;
  for (const isa of (values.isa ?? "best,avx2,none").split(",")) {
    const before = new Build(base, isa);
    const after = new Build(head, isa, values.addon);
    const problems: string[] = [];
    let compared = 0;
    for (const model of models) {
      const result = await compareModel(model, before, after);
      problems.push(...result.problems);
      compared += result.compared;
    }
    before.close();
    after.close();
    console.log(`${isa}: ${models.length} models, ${compared} results compared, ${problems.length} differ`);
    for (const problem of problems) console.log(`  ${problem}`);
    same &&= problems.length === 0;
  }
  return same;
}

/** The speed of both builds, `before` against `after`: above 1 the working tree is faster. */
async function compareSpeed(base: string, head: string, isa: string, folder: string): Promise<boolean> {
  console.log(`${isa}:`);
  const [before, after] = [new Build(base, isa), new Build(head, isa, values.addon)];
  const cases = await before.ask({ kind: "open", folder });
  await after.ask({ kind: "open", folder });
  const seconds = Number(values.seconds);
  const least = 1 - Number(values.tolerance) / 100;
  let fast = true;
  for (const name of cases) {
    const request = { kind: "measure", name, seconds } as const;
    const results = await interleaved(
      { before: () => before.ask(request), after: () => after.ask(request) },
      Number(values.rounds),
    );
    const ratio = results.ratio("after", "before");
    const slow = ratio.median < least;
    console.log(`${name}: ${showRatio(ratio)}${slow ? "  SLOWER" : ""}`);
    fast &&= !slow;
  }
  const [old, now] = [await before.ask({ kind: "memory" }), await after.ask({ kind: "memory" })];
  console.log(`memory: ${(now / old).toFixed(3)} × of ${(old / 2 ** 20).toFixed(0)} MiB`);
  before.close();
  after.close();
  return fast;
}

async function compareSpeeds(base: string, head: string): Promise<boolean> {
  const folder = largeModel();
  let fast = true;
  for (const isa of (values.isa ?? "best").split(","))
    fast = (await compareSpeed(base, head, isa, folder)) && fast;
  return fast;
}

const [commit] = positionals;
if (!commit && !values.addon) {
  console.error(
    "usage: scripts/compare-builds BASE | --addon FILE [--speed] [--isa best,avx2,none] [--only TEXT]",
  );
  process.exit(2);
}
const head = workingTree();
const { tree, name } = commit ? builtTree(commit) : { tree: head, name: "local build" };
console.log(`${name.slice(0, 12)} → ${values.addon ?? "working tree"}; ${machine()}`);
const passed = values.speed ? await compareSpeeds(tree, head) : await compareEmbeddings(tree, head);
if (withoutLibtorch > 0) console.log(`${withoutLibtorch} results need libtorch and were not compared`);
process.exit(passed ? 0 : 1);
