"""Goldens for `torchclip doctor --model`: what open_clip computes in float32 for a few images and texts.

    python scripts/goldens/doctor.py ViT-B-32/laion2b_s34b_b79k OUT.goldens.json   # downloads open_clip's weights
    python scripts/goldens/doctor.py tiny models/tiny.goldens.json                 # PyTorch's own run of the artifact

Images and texts are those of `torchclip doctor --write-goldens`, of which it needs one file: models/tiny.goldens.json.
"""

import base64
import importlib.metadata
import io
import json
import sys

import torch
from PIL import Image

sys.path.insert(0, "scripts/goldens")
from write import preprocess  # noqa: E402

name, out = sys.argv[1:3]
inputs = json.load(open("models/tiny.goldens.json"))
images = [Image.open(io.BytesIO(base64.b64decode(p))).convert("RGB") for p in inputs["images"]]
with torch.no_grad():
    if name == "tiny":
        model = torch.jit.load("models/tiny.pt", map_location="cpu").float().eval()
        from tokenizers import Tokenizer

        extra = {"tokenizer.json": "", "torchclip.json": ""}
        torch.jit.load("models/tiny.pt", _extra_files=extra)
        config = json.loads(extra["torchclip.json"])
        import open_clip  # its cleaning of texts

        tokenizer = Tokenizer.from_str(extra["tokenizer.json"].decode())
        clean = {"openai": open_clip.tokenizer._clean_lower, "none": lambda t: t}[config["tokenizer"]["clean"]]
        ids = [tokenizer.encode(clean(t)).ids[: model.context_length] for t in inputs["texts"]]
        tokens = torch.tensor([row + [model.pad_id] * (model.context_length - len(row)) for row in ids], dtype=torch.int32)
        pixels = torch.stack([torch.from_numpy(preprocess(i, model.image_size).copy()) for i in images])
        pixels = (pixels.float() / 255 - torch.tensor(model.image_mean)) / torch.tensor(model.image_std)
        image, text = model.encode_image(pixels.permute(0, 3, 1, 2).contiguous()), model.encode_text(tokens)
        by = f"PyTorch {torch.__version__.split('+')[0]}, float32"
    else:
        import open_clip

        arch, tag = name.split("/", 1)
        model, _, transform = open_clip.create_model_and_transforms(arch, pretrained=tag, precision="fp32")
        tokens = open_clip.get_tokenizer(arch)(inputs["texts"])
        image, text = model.eval().encode_image(torch.stack([transform(i) for i in images])), model.encode_text(tokens)
        by = f"open_clip {importlib.metadata.version('open_clip_torch')}, float32"
rows = lambda x: (x / x.norm(dim=-1, keepdim=True)).tolist()  # noqa: E731
goldens = dict(model=name, by=by, images=inputs["images"], texts=inputs["texts"], image=rows(image), text=rows(text))
json.dump(goldens, open(out, "w"), ensure_ascii=False)
print(f"{out}: {by}")
