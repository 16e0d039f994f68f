import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkLibtorch, findLibtorch, nvidiaPackages } from "../../lib/setup/libtorch.js";
import { rejectsWith, temporaryFolder } from "../support/index.js";

const METADATA = `Requires-Dist: filelock
Requires-Dist: cuda-toolkit[cublas,cudart,cupti]==13.0.3; platform_system == "Linux"
Requires-Dist: nvidia-cudnn-cu13==9.24.0.43; platform_system == "Linux"
Requires-Dist: triton~=3.8.0
`;

describe("finding libtorch", () => {
  const folder = temporaryFolder();

  it("names the NVIDIA packages of a CUDA wheel, and of its CPU half alone", () => {
    assert.deepEqual(nvidiaPackages(METADATA, false), [
      "cuda-toolkit[cublas,cudart,cupti]==13.0.3",
      "nvidia-cudnn-cu13==9.24.0.43",
    ]);
    assert.deepEqual(nvidiaPackages(METADATA, true), ["cuda-toolkit[cudart,cupti]==13.0.3"]);
    assert.deepEqual(
      nvidiaPackages(
        "Requires-Dist: nvidia-cuda-runtime-cu12==12.6.77; x\nRequires-Dist: nvidia-nccl-cu12==2\n",
        true,
      ),
      ["nvidia-cuda-runtime-cu12==12.6.77"],
    );
    assert.deepEqual(nvidiaPackages("Requires-Dist: filelock\n", false), []);
  });

  it("refuses a version outside 2.11 to 2.14 and a folder without libraries", async () => {
    const make = (name: string, major: number, minor: number) => {
      const at = join(folder, name);
      mkdirSync(join(at, "include/torch/headeronly"), { recursive: true });
      writeFileSync(
        join(at, "include/torch/headeronly/version.h"),
        `#define TORCH_VERSION_MAJOR ${major}\n#define TORCH_VERSION_MINOR ${minor}\n`,
      );
      return at;
    };
    await assert.rejects(checkLibtorch(make("old", 2, 10)), /2\.10, not 2\.11 to 2\.14/);
    await assert.rejects(checkLibtorch(make("new", 2, 15)), /2\.15/);
    await assert.rejects(checkLibtorch(make("bare", 2, 12)), /no torch_cpu library/);
    await assert.rejects(checkLibtorch(join(folder, "nothing")), /no libtorch headers/);
  });

  it("says all that was tried, and why each failed", async () => {
    const failing = (name: string) => ({ name, find: () => Promise.reject(new Error(`${name} is empty`)) });
    const error = await rejectsWith("E_DOWNLOAD", () =>
      findLibtorch({ sources: [failing("cache"), failing("pip download")] }),
    );
    assert.match(error.message, /cache: cache is empty\n.*pip download is empty\nSet TORCHCLIP_LIBTORCH/);
  });
});
