"""Writes adapters of PEFT for a random model of scripts/goldens/families.py into test/fixtures/adapters, and what that
model with each of them gives into test/goldens/adapters.json.

    python scripts/finetune/adapters.py

Needs torch, transformers, peft, safetensors, numpy (see goldens.py)."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "finetune"))
from goldens import class_ids, load, noise, pooled, unit  # noqa: E402

MODEL, ROWS = "transformers CLIP", 2
ADAPTERS = {
    "attention": {"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "k_proj", "v_proj", "out_proj"]},
    "everything": {"r": 4, "lora_alpha": 2, "use_rslora": True, "rank_pattern": {"fc1": 2}, "alpha_pattern": {"visual_projection": 5},
                   "target_modules": ["q_proj", "fc1", "fc2", "visual_projection", "text_projection"]},
}


def randomise(model) -> None:
    for i, (name, p) in enumerate(sorted(model.named_parameters())):
        if "lora_" in name:
            values = (noise(11000 + i, p.numel()) / 2**31 - 1).astype(np.float32) / 4
            with torch.no_grad():
                p.copy_(torch.from_numpy(values).view(p.shape))


def main() -> None:
    results = {}
    for name, settings in ADAPTERS.items():
        model, mean, std = load(MODEL, "")
        peft = get_peft_model(model, LoraConfig(**settings)).eval()
        randomise(peft)
        folder = ROOT / "test" / "fixtures" / "adapters" / name
        shutil.rmtree(folder, ignore_errors=True)
        peft.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        size = model.config.vision_config.image_size
        pixels = (noise(12000, ROWS * size * size * 3) & np.uint64(255)).astype(np.float32)
        x = torch.from_numpy(pixels.reshape(ROWS, size, size, 3)) / 255
        x = ((x - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
        ids = class_ids(model)
        with torch.no_grad():
            images = unit(pooled(model.get_image_features(pixel_values=x)))
            texts = unit(pooled(model.get_text_features(input_ids=ids)))
        results[name] = {"images": images.flatten().tolist(), "texts": texts.flatten().tolist(), "ids": ids.tolist()}
    path = ROOT / "test" / "goldens" / "adapters.json"
    path.write_text(json.dumps({"model": MODEL, "rows": ROWS, "adapters": results}) + "\n")


if __name__ == "__main__":
    main()
