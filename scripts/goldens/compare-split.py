"""Compares `torchclip eval` of a Hugging Face folder with transformers, image by image.
Usage: python scripts/goldens/compare-split.py MODEL_FOLDER IMAGES predictions.csv TOKENIZER_JSON TEMPLATE"""

import csv
import sys

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer
from transformers import CLIPConfig, CLIPModel

sys.path[:0] = ["scripts/goldens", "scripts/train-tiny"]
from train import MEAN, STD  # noqa: E402
from write import preprocess  # noqa: E402

folder, images, predictions, tokenizer, template = sys.argv[1:]
model = CLIPModel(CLIPConfig()).eval()
model.load_state_dict(load_file(folder + "/model.safetensors"), strict=False)
rows = list(csv.DictReader(open(predictions)))
ids = torch.zeros(2, 77, dtype=torch.long)
for r, e in enumerate(Tokenizer.from_file(tokenizer).encode_batch([template.format(c) for c in ("negative", "positive")])):
    ids[r, : len(e.ids)] = torch.tensor(e.ids)
same = right_here = right_there = 0
with torch.no_grad():
    hidden = model.text_model(input_ids=ids).last_hidden_state
    text = model.text_projection(hidden[torch.arange(2), ids.argmax(-1)])
    text /= text.norm(dim=-1, keepdim=True)
    for start in range(0, len(rows), 32):
        part = rows[start : start + 32]
        x = torch.stack([torch.from_numpy(preprocess(Image.open(f"{images}/{r['image']}").convert("RGB"), 224).copy()) for r in part])
        x = ((x.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
        image = model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
        best = (image @ text.t()).argmax(-1)
        for r, b in zip(part, best, strict=True):
            name = ("negative", "positive")[int(b)]
            same += name == r["predicted"]
            right_here += r["predicted"] == r["true"]
            right_there += name == r["true"]
print(f"{len(rows)} images: same class {same} ({100 * same / len(rows):.2f} %), right here {right_here}, in PyTorch {right_there}, numpy {np.__version__}")
