"""2,000 random sizes and modes through Pillow, for `npx tsx scripts/goldens/many-images.ts FILE` to compare.
Usage: python scripts/goldens/many-images.py FILE"""

import json
import sys

sys.path.insert(0, "scripts/goldens")
from write import noise_image, preprocess, preprocessing_cases, sha  # noqa: E402
from PIL import Image  # noqa: E402

cases = preprocessing_cases(2000, 1500)
for seed, (w, h) in enumerate([(8000, 6000), (6000, 8000), (8000, 1), (1, 8000)], 5000):
    cases.append(dict(seed=seed, width=w, height=h, channels=3, size=224, sha256=sha(preprocess(Image.fromarray(noise_image(seed, w, h, 3)), 224))))
json.dump(cases, open(sys.argv[1], "w"))
