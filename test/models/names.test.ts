import assert from "node:assert/strict";
import { nameOf } from "../../lib/models/import/source.js";

describe("the name of a model that nobody named", () => {
  for (const [path, name] of [
    ["/models/my-clip/model.safetensors", "my-clip"],
    ["/models/my-clip", "my-clip"],
    ["/models/my-clip/", "my-clip"],
    ["/models/my-clip/onnx/model.onnx", "my-clip"],
    ["/models/epoch_32.pt", "epoch_32.pt"],
    [
      "/cache/hub/models--openai--clip-vit-base-patch32/snapshots/0123abc/model.safetensors",
      "openai/clip-vit-base-patch32",
    ],
    ["/cache/hub/models--laion--CLIP-ViT-B-32--x/snapshots/0123abc", "laion/CLIP-ViT-B-32--x"],
  ])
    it(`${path}: ${name}`, () => assert.equal(nameOf(path), name));
});
