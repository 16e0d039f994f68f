"""Writes test/goldens/*.json and test/fixtures/images from the reference implementations (Pillow, transformers,
scikit-learn, the training code of tiny). Run it from the repository root in an environment with the versions in
requirements.txt. What it writes is committed; CI needs no Python."""

import hashlib
import json
import os
import sys

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, "scripts/train-tiny")
GOLDENS, FIXTURES = "test/goldens", "test/fixtures/images"
M32 = 0xFFFFFFFF


def noise(seed, n):
    """n uint32 of a counter-based hash; test/support/noise.ts has the same."""
    h = (np.arange(n, dtype=np.uint64) * 2654435761 + seed * 40503) & M32
    h ^= h >> 15
    h = (h * 2246822519) & M32
    h ^= h >> 13
    return h.astype(np.uint32)


def noise_image(seed, width, height, channels):
    """uint8 [height, width, channels]: noise over a gradient."""
    n = width * height * channels
    return ((noise(seed, n) & 127).astype(np.int64) + np.arange(n) * 97 // max(1, n // 97) % 128).astype(np.uint8).reshape(height, width, channels)


def preprocess(image, size):
    """torchvision's Resize(size, BICUBIC) and CenterCrop(size) on a PIL image."""
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new_long = int(size * long / short)
    new = (size, new_long) if w <= h else (new_long, size)
    if (w, h) != new:
        image = image.resize(new, Image.BICUBIC)
    w, h = image.size
    top, left = int(round((h - size) / 2.0)), int(round((w - size) / 2.0))
    return np.asarray(image.crop((left, top, left + size, top + size)))


def sha(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def preprocessing_cases(count=216, largest=700):
    sizes = [(1, 1), (1, 2), (2, 1), (3, 500), (500, 3), (224, 224), (224, 225), (225, 224), (223, 224), (448, 448), (640, 480), (480, 640), (1, 4000), (4000, 1), (8000, 60), (60, 8000), (1000, 999), (2000, 1500)]
    rng = np.random.default_rng(3)
    while len(sizes) < count:
        sizes.append((int(rng.integers(1, largest)), int(rng.integers(1, largest))))
    cases = []
    for i, (w, h) in enumerate(sizes):
        channels = (3, 1, 4)[i % 3] if i >= 18 else 3
        size = (224, 224, 224, 336, 32)[i % 5]
        a = noise_image(i, w, h, channels)
        image = Image.fromarray(a[:, :, 0] if channels == 1 else a).convert("RGB")
        cases.append(dict(seed=i, width=w, height=h, channels=channels, size=size, sha256=sha(preprocess(image, size))))
    return cases


def decoding_cases():
    os.makedirs(FIXTURES, exist_ok=True)
    rgb = Image.fromarray(noise_image(1, 61, 47, 3)).resize((61, 47))
    smooth = Image.fromarray(np.stack([np.add.outer(np.arange(47) * 3, np.arange(61) * 2), np.add.outer(np.arange(47), np.arange(61) * 3), np.add.outer(np.arange(47) * 5, np.arange(61))], -1).clip(0, 255).astype(np.uint8))
    rgba = Image.fromarray(np.dstack([np.asarray(smooth), noise_image(2, 61, 47, 1)]))
    grey = smooth.convert("L")
    files = {}

    def save(name, image, **options):
        image.save(f"{FIXTURES}/{name}", **options)
        files[name] = None

    save("rgb444.jpg", smooth, quality=90, subsampling=0)
    save("rgb422.jpg", smooth, quality=90, subsampling=1)
    save("rgb420.jpg", smooth, quality=75, subsampling=2)
    save("noise420.jpg", rgb, quality=60, subsampling=2)
    save("progressive.jpg", smooth, quality=80, progressive=True)
    save("grey.jpg", grey, quality=85)
    save("cmyk.jpg", smooth.convert("CMYK"), quality=90)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("exif6.jpg", smooth, quality=90, exif=exif)
    save("rgb.png", rgb)
    save("grey.png", grey)
    save("grey-alpha.png", Image.merge("LA", (grey, grey.rotate(180))))
    save("rgba.png", rgba)
    save("palette.png", smooth.quantize(17))
    save("palette-transparent.png", smooth.quantize(17), transparency=3)
    save("one-bit.png", grey.convert("1"))
    save("grey16.png", Image.fromarray((np.asarray(grey).astype(np.uint16) * 3)))
    save("lossless.webp", rgb, lossless=True)
    save("lossy.webp", smooth, quality=80)
    save("alpha.webp", rgba, lossless=True, exact=True)
    save("first-frame.gif", smooth.quantize(32), save_all=True, append_images=[rgb.quantize(32)])
    save("deflate.tiff", rgb, compression="tiff_deflate")
    for name in files:
        image = Image.open(f"{FIXTURES}/{name}").convert("RGB")
        files[name] = dict(width=image.width, height=image.height, sha256=sha(np.asarray(image)))
    return files


def weight(index, name, shape):
    """One parameter of the random ViT-B/32; test/support/random-model.ts has the same."""
    n = int(np.prod(shape)) if len(shape) else 1
    u = noise(1000 + index, n).astype(np.float64) / 2**31 - 1
    if name == "logit_scale":
        v = np.full(n, 4.6052)
    elif name.endswith(("layernorm.weight", "layrnorm.weight", "layer_norm1.weight", "layer_norm2.weight", "layer_norm.weight")):
        v = 1 + 0.1 * u
    elif name.endswith("bias"):
        v = 0.02 * u
    else:
        v = 0.04 * u
    return v.astype(np.float32).reshape(shape)


TEXTS = [
    "a photo of a cat",
    "a negative review of a movie.",
    "An ASTRONAUT riding a horse — in 4K, 2024!",
    "naïve café, Zürich; it's the dog's",
    "日本語のテキスト 🎉 emoji 👩‍👩‍👧",
    "  white   space\tand\nlines ",
    "",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "1234567890 3.14159 £100 & <b>html</b> &amp;",
    "e\u0301 combining and e\u0301 again, İstanbul ΣΊΣΥΦΟΣ",
]
PICTURES = [(11, 448, 448), (12, 300, 200), (13, 97, 401)]


def vit_b_32():
    from tokenizers import Tokenizer
    from transformers import CLIPConfig, CLIPModel

    model = CLIPModel(CLIPConfig()).eval()
    shapes = []
    with torch.no_grad():
        for name, p in sorted(model.state_dict().items()):
            if name.endswith("position_ids"):
                continue
            shapes.append([name, list(p.shape)])
        for i, (name, shape) in enumerate(shapes):
            model.state_dict()[name].copy_(torch.from_numpy(np.array(weight(i, name, shape))))
    tok = Tokenizer.from_file(sys.argv[1])
    ids = torch.zeros(len(TEXTS), 77, dtype=torch.long)
    for r, e in enumerate(tok.encode_batch(TEXTS)):
        ids[r, : len(e.ids)] = torch.tensor(e.ids)
    from train import MEAN, STD

    x = torch.stack([torch.from_numpy(preprocess(Image.fromarray(noise_image(*p, 3)), 224).copy()) for p in PICTURES])
    x = ((x.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    with torch.no_grad():
        image = model.visual_projection(model.vision_model(pixel_values=x).pooler_output)
        hidden = model.text_model(input_ids=ids).last_hidden_state
        # The config's default eos_token_id is not CLIP's; openai/CLIP takes the highest id.
        text = model.text_projection(hidden[torch.arange(len(ids)), ids.argmax(-1)])
    image, text = (e / e.norm(dim=-1, keepdim=True) for e in (image, text))
    probabilities = (model.logit_scale.exp() * image @ text.t()).softmax(-1)
    return dict(shapes=shapes, texts=TEXTS, ids=ids.tolist(), images=PICTURES, image=image.tolist(), text=text.tolist(), probabilities=probabilities.tolist(), logit_scale=model.logit_scale.exp().item())


def tiny():
    import train
    from tokenizers import Tokenizer

    extra = {"torchclip.json": "", "tokenizer.json": ""}
    artifact = torch.jit.load("models/tiny.pt", _extra_files=extra)
    config = json.loads(extra["torchclip.json"])
    v, t = config["image"], config["text"]
    train.Activation.forward = lambda self, x: x * torch.sigmoid(1.702 * x)
    model = train.CLIP(dict(embed_dim=config["embedDim"], vision_width=v["width"], vision_layers=v["layers"], vision_heads=v["heads"], text_width=t["width"], text_layers=t["layers"], text_heads=t["heads"], vocab_size=t["vocabSize"])).eval()
    model.load_state_dict({k.removeprefix("text."): p.float() for k, p in artifact.state_dict().items()})
    tok = Tokenizer.from_str(extra["tokenizer.json"].decode())
    texts = TEXTS[:2] + ["a photo of a red circle", "superb film"]
    ids = train.ids_of(tok, texts)
    pixels = np.stack([preprocess(Image.fromarray(noise_image(*p, 3)), 224) for p in PICTURES])
    x = torch.from_numpy(train.patched(pixels))
    mean, std = (torch.tensor(m).view(3, 1) for m in (train.MEAN, train.STD))
    with torch.no_grad():
        image = model.encode_image(((x.float() / 255 - mean) / std).flatten(2))
        text = model.encode_text(ids)
    image, text = (e / e.norm(dim=-1, keepdim=True) for e in (image, text))
    return dict(texts=texts, ids=ids.tolist(), images=PICTURES, image=image.tolist(), text=text.tolist())


def metrics_cases():
    from sklearn import metrics as m

    cases = []
    rng = np.random.default_rng(5)
    for classes, n, missing in ((2, 50, None), (2, 400, None), (5, 200, None), (5, 60, 3), (12, 500, 7)):
        p = rng.dirichlet(np.ones(classes), n).round(3)
        truth = rng.integers(0, classes, n)
        p[np.arange(n), truth] += rng.random(n) * 0.5
        if missing is not None:
            p[:, missing] = 0
        p = p / p.sum(1, keepdims=True)
        if classes == 2:
            p = p.round(2)  # ties
        predicted = p.argmax(1)
        labels = list(range(classes))
        pr, rc, f1, _ = m.precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
        macro = m.precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
        case = dict(truth=truth.tolist(), probabilities=p.tolist(), classes=classes, accuracy=m.accuracy_score(truth, predicted), precision=pr.tolist(), recall=rc.tolist(), f1=f1.tolist(), macro=list(macro[:3]), confusion=m.confusion_matrix(truth, predicted, labels=labels).tolist(), balanced=m.balanced_accuracy_score(truth, predicted))
        if classes == 2:
            case.update(rocAuc=m.roc_auc_score(truth, p[:, 1]), averagePrecision=m.average_precision_score(truth, p[:, 1]))
        cases.append(case)
    return cases


def main():
    os.makedirs(GOLDENS, exist_ok=True)
    for name, make in (("preprocessing", preprocessing_cases), ("decoding", decoding_cases), ("metrics", metrics_cases), ("tiny", tiny), ("vit-b-32", vit_b_32)):
        with open(f"{GOLDENS}/{name}.json", "w") as f:
            json.dump(make(), f)
        print(name, os.path.getsize(f"{GOLDENS}/{name}.json"), flush=True)


if __name__ == "__main__":
    main()
