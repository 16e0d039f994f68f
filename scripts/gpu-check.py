"""PyTorch's part of scripts/gpu-check, and the files that it needs.

    python3 scripts/gpu-check.py models  [--all] [--dry-run] [--json FILE]   CLIP's ViT in bf16: images a second
    python3 scripts/gpu-check.py search  [--dry-run] [--json FILE]           top-k by torch.mm and torch.topk
    python3 scripts/gpu-check.py images FOLDER [--dry-run]                   JPEG files, each with its pixels as PPM
    python3 scripts/gpu-check.py compare [--json FILE]                       torchclip's rows beside PyTorch's

Results are appended to FILE, one JSON object a line, as soon as they are measured. The model is the image encoder as
open_clip writes it (scaled_dot_product_attention, all tokens through all layers), with random weights, normalised input
and output in bf16, images on the GPU already: eager, torch.compile, and torch.compile(mode="reduce-overhead"), which
records CUDA graphs. --dry-run: a small model on the CPU.
"""

import argparse
import json
import sys
import time
from pathlib import Path

MODELS = {
    "ViT-B/32": (224, 32, 768, 12, 12, 512, "quick_gelu"),
    "ViT-B/16": (224, 16, 768, 12, 12, 512, "quick_gelu"),
    "ViT-L/14": (224, 14, 1024, 24, 16, 768, "quick_gelu"),
    "ViT-H/14": (224, 14, 1280, 32, 16, 1024, "gelu"),
}
SMALL = {"small": (32, 8, 64, 2, 2, 32, "quick_gelu")}


def needs_torch():
    try:
        import torch
    except ImportError:
        sys.exit("gpu-check.py: this Python has no torch")
    return torch


def add_row(path, row):
    with open(path, "a") as file:
        file.write(json.dumps(row) + "\n")


def vit(size, patch, width, layers, heads, embed, activation):
    """The image encoder of a CLIP, as open_clip writes it."""
    torch = needs_torch()
    from torch import nn
    from torch.nn import functional

    class QuickGelu(nn.Module):
        def forward(self, x):
            return x * torch.sigmoid(1.702 * x)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            gelu = QuickGelu() if activation == "quick_gelu" else nn.GELU()
            self.mlp = nn.Sequential(nn.Linear(width, 4 * width), gelu, nn.Linear(4 * width, width))

        def forward(self, x):
            rows, length, _ = x.shape
            q, k, v = self.qkv(self.ln_1(x)).view(rows, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, width)
            x = x + self.out(attended)
            return x + self.mlp(self.ln_2(x))

    class Vit(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, width, patch, patch, bias=False)
            self.token = nn.Parameter(torch.randn(width) * width**-0.5)
            self.positions = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width) * width**-0.5)
            self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.projection = nn.Parameter(torch.randn(width, embed) * width**-0.5)

        def forward(self, x):
            x = self.conv(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(x.shape[0], 1, -1), x], 1) + self.positions
            x = self.blocks(self.ln_pre(x))
            return functional.normalize(self.ln_post(x[:, 0]) @ self.projection, dim=-1)

    torch.manual_seed(0)
    return Vit().eval()


def seconds_of(work, device, budget=0.5):
    """Mean seconds of a call, over about `budget` seconds."""
    torch = needs_torch()

    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    def timed(repeats):
        wait()
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        wait()
        return (time.perf_counter() - start) / repeats

    for _ in range(3):
        work()
    return timed(max(3, min(200, int(budget / max(timed(1), 1e-6))))) if device == "cuda" else timed(1)


def measure_models(options):
    torch = needs_torch()
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu-check.py: torch sees no CUDA device")
    models = MODELS if options.all else {name: MODELS[name] for name in ("ViT-B/32", "ViT-L/14")}
    # Compiling takes tens of seconds for each shape: the small batch, where launches matter, and a large one.
    eager_batches, compiled_batches = [1, 8, 32, 64, 256, 1024], {"reduce-overhead": [1], "default": [256]}
    if options.dry_run:
        models, eager_batches, compiled_batches = SMALL, [1, 3], {}
    for name, shape in models.items():
        model = vit(*shape).to(device, torch.bfloat16)

        def measure(how, run, batch, name=name, size=shape[0]):
            x = torch.randn(batch, 3, size, size, device=device, dtype=torch.bfloat16)
            with torch.inference_mode():
                seconds = seconds_of(lambda: run(x), device)
            row = {"stage": "pytorch", "torch": torch.__version__, "model": name, "precision": "bf16", "how": how}
            add_row(options.json, row | {"batch": batch, "imagesPerSecond": batch / seconds})
            print(f"{name:9} PyTorch {how:15} batch {batch:4}  {batch / seconds:9.0f} images/s", flush=True)

        for batch in eager_batches:
            measure("eager", model, batch)
        for mode, batches in compiled_batches.items():
            torch.compiler.reset()
            compiled = torch.compile(model, dynamic=False, mode=mode)
            for batch in batches:
                try:
                    measure(mode, compiled, batch)
                except Exception as error:  # no C compiler, no Triton ...: eager alone
                    print(f"torch.compile failed: {str(error).splitlines()[0]}", flush=True)
        del model


def measure_search(options):
    torch = needs_torch()
    device = "cpu" if options.dry_run else "cuda"
    rows, dim, best = (200 if options.dry_run else 1_000_000), 512, 10
    base = torch.randn(rows, dim)
    resident = base.to(device)
    for queries in (1, 16, 256, 1024):
        if options.dry_run and queries > 16:
            break
        q = torch.randn(queries, dim, device=device)
        for how, place in (("base on the device", resident), ("base from host memory", base)):
            if how == "base from host memory" and queries > 16:
                continue

            def search(q=q, place=place):
                return torch.topk(torch.mm(q, place.to(device).t()), best)

            milliseconds = 1e3 * seconds_of(search, device, 0.3)
            row = {"stage": "pytorch", "what": "top-k", "how": how, "rows": rows, "dim": dim, "k": best}
            add_row(options.json, row | {"queries": queries, "milliseconds": milliseconds})
            print(f"torch.mm + topk, {how:21} {queries:4} queries: {milliseconds:8.2f} ms", flush=True)


def make_images(options):
    """Photograph-like files of several sizes: smooth shapes with noise, so that they compress as photographs do."""
    try:
        import numpy
        from PIL import Image
    except ImportError:
        sys.exit("gpu-check.py: JPEG files need Pillow and NumPy")
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [(500, 375), (375, 500), (640, 480), (1024, 768), (200, 150)]
    count = 4 if options.dry_run else 32
    random = numpy.random.default_rng(1)
    for i in range(count):
        width, height = sizes[i % len(sizes)]
        coarse = random.integers(0, 255, (6, 8, 3), dtype=numpy.uint8)
        smooth = numpy.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), numpy.int16)
        noisy = numpy.clip(smooth + random.normal(0, 6, smooth.shape), 0, 255).astype(numpy.uint8)
        path = folder / f"{i:02}.jpg"
        Image.fromarray(noisy).save(path, quality=90, progressive=i % 4 == 3)
        Image.open(path).convert("RGB").save(path.with_suffix(".ppm"))
    print(f"{count} JPEG files in {folder}")


def read_rows(path):
    with open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def compare_searches(options, rows):
    """The time of PyTorch's search with the base on the device over that of torchclip's."""
    ours = {row["queries"]: row["residentMilliseconds"] for row in rows if row.get("stage") == "search" and "queries" in row}
    for row in rows:
        if row.get("what") != "top-k" or row["how"] != "base on the device" or row["queries"] not in ours:
            continue
        ratio = row["milliseconds"] / ours[row["queries"]]
        add_row(options.json, {"stage": "compare", "what": "top-k", "queries": row["queries"], "ratio": ratio})
        print(f"top-k, {row['queries']:4} queries  {ratio:6.2f} times PyTorch, rows on the device")


def speeds_in(rows, precision):
    """Images a second on the GPU by model and batch."""
    return {
        (row["model"], row["batch"]): row["imagesPerSecond"]
        for row in rows
        if row.get("stage") == "speed" and row.get("device") == "cuda" and row.get("precision") == precision
    }


def fp8_cosines(rows):
    """The least cosine of fp8's embeddings to the CPU's in float32, by model."""
    least = {}
    for row in rows:
        if row.get("stage") != "accuracy" or row.get("precision") != "fp8":
            continue
        for name in ("imageCosine", "textCosine"):
            if row.get(name) is not None:
                least[row["model"]] = min(least.get(row["model"], 1), row[name])
    return least


def compare(options):
    """torchclip's bf16 images a second and top-k beside PyTorch's, where both were measured; its fp8 beside its bf16."""
    rows = read_rows(options.json)
    ours, fp8 = speeds_in(rows, "bf16"), speeds_in(rows, "fp8")
    cosines = fp8_cosines(rows)
    for model, batch in sorted(fp8.keys() & ours.keys()):
        ratio, cosine = fp8[model, batch] / ours[model, batch], cosines.get(model)
        row = {"stage": "compare", "model": model, "batch": batch, "how": "fp8 against bf16", "ratio": ratio}
        add_row(options.json, row | {"leastCosine": cosine})
        cosine_text = "not measured" if cosine is None else f"{cosine:.6f}"
        print(f"{model:9} batch {batch:4}  {ratio:6.2f} times bf16 in fp8, least cosine to fp32 {cosine_text}")
    for row in rows:
        key = (row.get("model"), row.get("batch"))
        if row.get("stage") == "pytorch" and key in ours:
            ratio = ours[key] / row["imagesPerSecond"]
            add_row(options.json, {"stage": "compare", "model": key[0], "batch": key[1], "how": row["how"], "ratio": ratio})
            print(f"{key[0]:9} batch {key[1]:4}  {ratio:6.2f} times PyTorch {row['how']}")
    compare_searches(options, rows)
    failures = [row["failed"] for row in rows if "failed" in row and isinstance(row["failed"], str)]
    for failure in failures:
        print(f"FAILED: {failure}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("models", "search", "compare", "images"):
        command = commands.add_parser(name)
        if name == "images":
            command.add_argument("folder")
        command.add_argument("--all", action="store_true")
        command.add_argument("--dry-run", action="store_true")
        command.add_argument("--json", default="gpu-check.jsonl")
    options = parser.parse_args()
    {"models": measure_models, "search": measure_search, "compare": compare, "images": make_images}[options.command](options)


main()
