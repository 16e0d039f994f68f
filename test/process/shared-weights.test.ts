import assert from "node:assert/strict";
import { join } from "node:path";
import { importModel } from "../../lib/models/import/import.js";
import { findSource } from "../../lib/models/import/source.js";
import { families, writeFamilyFolder } from "../support/families.js";
import { root, temporaryFolder } from "../support/index.js";
import { printedBy, runScript } from "../support/process.js";
import { writeRepeatedModel } from "../support/random-model.js";

const entry = JSON.stringify(join(root, "dist", "index.js"));
const small = families.cases.find((c) => c.name === "transformers CLIP")!;
/** Width and hidden width of the large image tower: two layers of 37.8 M parameters. */
const [WIDTH, HIDDEN] = [1024, 16384];

/** An artifact of 76 M parameters, 304 MB in fp32: the small model of the goldens with a wide image tower. */
async function largeArtifact(folder: string): Promise<string> {
  const wider = new Map([
    [64, WIDTH],
    [128, HIDDEN],
  ]);
  const wide = (shape: number[]) => shape.map((n) => wider.get(n) ?? n);
  const shapes = small.shapes.map(([name, shape]): [string, number[]] => [
    name,
    /^visual_projection|^vision_model/.test(name) ? wide(shape) : shape,
  ]);
  const config = structuredClone(small.files["config.json"]) as { vision_config: Record<string, unknown> };
  Object.assign(config.vision_config, {
    hidden_size: WIDTH,
    intermediate_size: HIDDEN,
    num_attention_heads: 16,
  });
  const at = writeFamilyFolder(
    { ...small, files: { ...small.files, "config.json": config } },
    join(folder, "large"),
    false,
  );
  writeRepeatedModel(join(at, "model.safetensors"), shapes);
  const artifact = join(folder, "large.pt");
  await importModel(await findSource(at), artifact);
  return artifact;
}

describe("one artifact, loaded twice in a process", function () {
  this.timeout(300_000);
  const folder = temporaryFolder();
  let artifact: string;
  before(async () => void (artifact = await largeArtifact(folder)));

  for (const precision of ["fp32", "bf16"]) {
    const title =
      `${precision}: the second adds at most 5 % of the weights; ` +
      `when one is closed, the other gives the same bits`;
    it(title, () => {
      const run = runScript(
        `import { load } from ${entry};
         const options = { device: "cpu", precision: "${precision}", threads: 1 };
         const open = () => load(${JSON.stringify(artifact)}, options);
         const data = Uint8Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 37) % 256);
         const image = { data, width: 64, height: 64, channels: 3 };
         const encoded = async (clip) => (await clip.encodeImages([image])).data;
         const bits = async (clip) => Buffer.from((await encoded(clip)).buffer).toString("hex");
         const resident = () => (globalThis.gc(), process.memoryUsage.rss());
         const first = await open();
         const expected = await bits(first);
         const finite = (await encoded(first)).every(Number.isFinite);
         const { weights } = first.memoryUsage();
         const before = resident();
         const second = await open();
         const same = [(await bits(second)) === expected];
         const added = resident() - before;
         await first.close();
         same.push((await bits(second)) === expected);
         const third = await open();
         await second.close();
         same.push((await bits(third)) === expected);
         await third.close();
         console.log(JSON.stringify({ weights, added, same, finite }));`,
        ["--expose-gc"],
      );
      const { weights, added, same, finite } = JSON.parse(printedBy(run)) as {
        weights: number;
        added: number;
        same: boolean[];
        finite: boolean;
      };
      assert.ok(finite, "the model computes numbers");
      assert.ok(weights > 140e6, `the model is large enough to see: ${weights} bytes`);
      assert.deepEqual(same, [true, true, true]);
      assert.ok(added <= 0.05 * weights, `the second load added ${added} bytes to weights of ${weights}`);
    });
  }
});
