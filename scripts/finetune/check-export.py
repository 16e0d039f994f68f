"""Loads what `torchclip finetune --method lora` saved in Python and compares its embeddings with torchclip's.

    node --import tsx scripts/finetune/embed.ts OUT/model.pt embeddings.json
    python scripts/finetune/check-export.py OUT tiny-transformers embeddings.json

The second argument is the model before training as transformers holds it (scripts/finetune/export-tiny.ts). Needs torch,
transformers and peft (see goldens.py)."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from peft import PeftModel
from transformers import CLIPModel

from goldens import noise, pooled, unit

out, base, file = map(Path, sys.argv[1:])
expected = json.loads(file.read_text())
rows, size = expected["rows"], expected["size"]
processor = json.loads((out / "transformers" / "preprocessor_config.json").read_text())
pixels = (noise(12000, rows * size * size * 3) & np.uint64(255)).astype(np.float32).reshape(rows, size, size, 3)
x = ((torch.from_numpy(pixels) / 255 - torch.tensor(processor["image_mean"])) / torch.tensor(processor["image_std"])).permute(0, 3, 1, 2)
ids = torch.tensor(expected["ids"])
models = {"transformers": CLIPModel.from_pretrained(out / "transformers")}
if (out / "adapter").exists():
    models["peft"] = PeftModel.from_pretrained(CLIPModel.from_pretrained(base), out / "adapter").get_base_model()
for name, model in models.items():
    model.eval()
    with torch.no_grad():
        images = unit(pooled(model.get_image_features(pixel_values=x))).numpy()
        texts = unit(pooled(model.get_text_features(input_ids=ids))).numpy()
    differences = [float(np.abs(a.reshape(-1) - np.array(b)).max()) for a, b in ((images, expected["images"]), (texts, expected["texts"]))]
    print(f"{name}: largest difference of images {differences[0]:.1e}, of texts {differences[1]:.1e}")
    assert max(differences) <= 1e-5
