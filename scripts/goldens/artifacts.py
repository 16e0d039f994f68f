"""Artifacts in Python: torch.jit.load must give torchclip's embeddings for every architecture family.

    node --import tsx scripts/goldens/artifacts.ts FOLDER && python scripts/goldens/artifacts.py FOLDER
"""

import base64
import json
import sys
from pathlib import Path

import torch

TOLERANCE = 1e-5


def normalised(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def difference(model, results):
    """The largest difference of the normalised embeddings, of images and of texts."""
    size = model.image_size
    pixels = torch.frombuffer(bytearray(base64.b64decode(results["pixels"])), dtype=torch.uint8)
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (model.image_mean, model.image_std))
    images = ((pixels.view(-1, size, size, 3).double() / 255 - mean) / std).permute(0, 3, 1, 2).float()
    tokens = torch.tensor(results["tokens"]["ids"]).view(-1, results["tokens"]["length"])
    with torch.no_grad():
        image, text = normalised(model.encode_image(images)), normalised(model.encode_text(tokens))
    theirs = [torch.tensor(results[half]).view(-1, model.embed_dim) for half in ("image", "text")]
    return (image - theirs[0]).abs().max().item(), (text - theirs[1]).abs().max().item()


def main():
    files = sorted(Path(sys.argv[1]).glob("*.pt"))
    wrong = 0
    for file in files:
        model = torch.jit.load(str(file)).eval().to(torch.float32)
        image, text = difference(model, json.loads(file.with_suffix(".json").read_text()))
        good = max(image, text) <= TOLERANCE  # not if it is NaN
        wrong += not good
        print(f"{file.stem}: images differ by {image:.1e}, texts by {text:.1e}{'' if good else ': TOO MUCH'}")
    print(f"torch {torch.__version__}: {len(files)} artifacts, {wrong} differ by more than {TOLERANCE}")
    sys.exit(1 if wrong or not files else 0)


main()
