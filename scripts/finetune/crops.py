"""Writes test/goldens/crops.json: parts of images that Pillow crops and resizes, as torchvision's resized_crop does it.

    python scripts/finetune/crops.py

Needs pillow 13.0.0, numpy."""

import json
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "goldens"))
from write import noise_image, sha  # noqa: E402

# Seed, width and height of the image; left, top, width and height of the part; side of the result.
CASES = [
    [21, 300, 200, 10, 20, 120, 90, 64],
    [22, 97, 181, 0, 0, 97, 181, 224],
    [23, 640, 480, 333, 111, 200, 260, 224],
    [24, 40, 30, 5, 5, 9, 12, 32],
]


def part(seed, w, h, left, top, width, height, side):
    image = Image.fromarray(noise_image(seed, w, h, 3)).crop((left, top, left + width, top + height))
    return sha(image.resize((side, side), Image.BICUBIC).tobytes())


if __name__ == "__main__":
    found = [{"case": case, "sha256": part(*case)} for case in CASES]
    (ROOT / "test" / "goldens" / "crops.json").write_text(json.dumps(found) + "\n")
