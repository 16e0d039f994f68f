import { strict as assert } from "node:assert";
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, tinyModel } from "../support/index.js";

/** What a process prints that loads `tiny`, encodes an image and a text, and looks at the libraries it mapped. */
function mapped(options: object): { torch: boolean; runner: string } {
  const script = `
    import { readFileSync } from "node:fs";
    import { load } from ${JSON.stringify(join(root, "dist/index.js"))};
    const clip = await load(${JSON.stringify(tinyModel)}, ${JSON.stringify(options)});
    await clip.encodeImages([{ data: new Uint8Array(48), width: 4, height: 4, channels: 3 }]);
    await clip.encodeTexts(["a red square"]);
    const torch = /libtorch_cpu/.test(readFileSync("/proc/self/maps", "utf8"));
    process.stdout.write(JSON.stringify({ torch, runner: clip.info.imageRunner }));
    await clip.close();`;
  const out = execFileSync(process.execPath, ["--input-type=module", "--eval", script], { encoding: "utf8" });
  return JSON.parse(out) as { torch: boolean; runner: string };
}

describe("libtorch", () => {
  before(function () {
    if (!existsSync("/proc/self/maps")) this.skip();
  });

  it("is not opened where torchclip's own kernels run both towers", () => {
    const { torch, runner } = mapped({ device: "cpu" });
    assert.match(runner, /^fast/);
    assert.equal(torch, false);
  });

  it("is opened by the generic runner", () => {
    const { torch, runner } = mapped({ device: "cpu", runner: "generic" });
    assert.match(runner, /^generic/);
    assert.equal(torch, true);
  });
});
