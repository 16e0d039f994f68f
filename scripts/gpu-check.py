"""PyTorch's part of scripts/gpu-check, and the files that it needs.

    python3 scripts/gpu-check.py machine [--torch DIR] [--json FILE]            what the results were measured on
    python3 scripts/gpu-check.py models  [--all] [--seconds N] [--dry-run] [--json FILE]
                                                                                CLIP's ViT in bf16: images a second
    python3 scripts/gpu-check.py search  [--dry-run] [--json FILE]              top-k by torch.mm and torch.topk
    python3 scripts/gpu-check.py images FOLDER [--dry-run]                      JPEG files, each with its pixels as PPM
    python3 scripts/gpu-check.py compare [--json FILE]                          what was measured beside the goals

Results are appended to FILE, one JSON object a line, as soon as they are measured. The model is the image encoder as
open_clip writes it (scaled_dot_product_attention, all tokens through all layers), with random weights, normalised input
and output in bf16, images on the GPU already: eager, torch.compile with batch 256, and
torch.compile(mode="reduce-overhead"), which records CUDA graphs, with small batches, unless --seconds are over by then.
--dry-run: a small model on the CPU. Exit code: 0; 3 if something is not installed; otherwise 1.
"""

import argparse
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import gpu_check_compare

MISSING = 3  # exit code

MODELS = {
    "ViT-B/32": (224, 32, 768, 12, 12, 512, "quick_gelu"),
    "ViT-B/16": (224, 16, 768, 12, 12, 512, "quick_gelu"),
    "ViT-L/14": (224, 14, 1024, 24, 16, 768, "quick_gelu"),
    "ViT-H/14": (224, 14, 1280, 32, 16, 1024, "gelu"),
}
SMALL = {"small": (32, 8, 64, 2, 2, 32, "quick_gelu")}


def missing(what):
    print(f"gpu-check.py: {what}", file=sys.stderr)
    sys.exit(MISSING)


def needs_torch():
    try:
        import torch
    except ImportError:
        missing("this Python has no torch")
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


class Pytorch:
    """The models in PyTorch, on the device or, in a dry run, on the CPU."""

    def __init__(self, options):
        self.torch = needs_torch()
        self.options = options
        self.device = "cpu" if options.dry_run else "cuda"
        if self.device == "cuda" and not self.torch.cuda.is_available():
            sys.exit("gpu-check.py: torch sees no CUDA device")
        self.gpu = self.torch.cuda.get_device_name() if self.device == "cuda" else "none"
        self.models = {}

    def model(self, name, shape):
        if name not in self.models:
            self.models[name] = vit(*shape).to(self.device, self.torch.bfloat16)
        return self.models[name]

    def measure(self, name, shape, how, run, batch):
        torch = self.torch
        x = torch.randn(batch, 3, shape[0], shape[0], device=self.device, dtype=torch.bfloat16)
        with torch.inference_mode():
            start = time.perf_counter()
            run(x)
            first = time.perf_counter() - start  # compiles
            seconds = seconds_of(lambda: run(x), self.device)
        row = {"stage": "pytorch", "gpu": self.gpu, "torch": torch.__version__, "model": name, "precision": "bf16"}
        row |= {"how": how, "batch": batch, "imagesPerSecond": batch / seconds, "firstCallSeconds": first}
        add_row(self.options.json, row)
        print(f"{name:9} PyTorch {how:15} batch {batch:4}  {batch / seconds:9.0f} images/s", flush=True)

    def compile_and_measure(self, name, shape, how, batch):
        torch = self.torch
        torch.compiler.reset()
        try:
            self.measure(name, shape, how, torch.compile(self.model(name, shape), dynamic=False, mode=how), batch)
        except Exception as error:  # no C compiler, no Triton ...: eager alone
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            row = {"stage": "pytorch", "gpu": self.gpu, "model": name, "how": how, "batch": batch}
            add_row(self.options.json, row | {"skipped": f"torch.compile failed: {reason}"})
            print(f"{name:9} torch.compile ({how}, batch {batch}) failed: {reason}", flush=True)


def measure_models(options):
    started = time.monotonic()
    pytorch = Pytorch(options)
    models = MODELS if options.all else {name: MODELS[name] for name in ("ViT-B/32", "ViT-L/14")}
    eager_batches = [1, 8, 32, 64, 256, 1024]
    # Compiling takes tens of seconds for each shape. The large batch is what torchclip is compared with; the small
    # ones, where launches matter, follow while there is time.
    compiled = [("default", 256), ("reduce-overhead", 1), ("reduce-overhead", 32)]
    if options.dry_run:
        models, eager_batches, compiled = SMALL, [1, 3], []
    for name, shape in models.items():
        for batch in eager_batches:
            pytorch.measure(name, shape, "eager", pytorch.model(name, shape), batch)
    longest = 0
    for how, batch in compiled:
        for name, shape in models.items():
            start = time.monotonic()
            if how != "default" and start - started + longest > options.seconds:
                row = {"stage": "pytorch", "gpu": pytorch.gpu, "model": name, "how": how, "batch": batch}
                add_row(options.json, row | {"skipped": f"not compiled: {options.seconds} s are over, or would be"})
                print(f"{name:9} PyTorch {how:15} batch {batch:4}  not compiled, for the time", flush=True)
                continue
            pytorch.compile_and_measure(name, shape, how, batch)
            longest = max(longest, time.monotonic() - start)


def measure_search(options):
    pytorch = Pytorch(options)
    torch, device = pytorch.torch, pytorch.device
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
            row = {"stage": "pytorch", "gpu": pytorch.gpu, "what": "top-k", "how": how, "rows": rows}
            add_row(options.json, row | {"dim": dim, "k": best, "queries": queries, "milliseconds": milliseconds})
            print(f"torch.mm + topk, {how:21} {queries:4} queries: {milliseconds:8.2f} ms", flush=True)


def make_images(options):
    """Photograph-like files of several sizes: smooth shapes with noise, so that they compress as photographs do."""
    try:
        import numpy
        from PIL import Image
    except ImportError:
        missing("JPEG files need Pillow and NumPy")
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


def output_of(*command):
    """What a program prints; nothing where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=15, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def gpu_fields():
    names = {
        "gpu": "name",
        "driver": "driver_version",
        "memory": "memory.total",
        "computeCapability": "compute_cap",
        "clock": "clocks.sm",
        "mostClock": "clocks.max.sm",
        "powerLimit": "power.limit",
        "temperature": "temperature.gpu",
    }
    line = output_of("nvidia-smi", f"--query-gpu={','.join(names.values())}", "--format=csv,noheader").split("\n")[0]
    values = [value.strip() for value in line.split(",")]
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else {"gpu": None}


def torch_fields(folder):
    """Of the libtorch in the folder, without loading it."""
    fields = {}
    version = Path(folder or ".") / "version.py"
    if folder and version.is_file():
        text = version.read_text()
        for name, pattern in (("torch", r"__version__ = '([^']*)'"), ("torchCuda", r"^cuda.*= '([^']*)'")):
            found = re.search(pattern, text, re.MULTILINE)
            fields[name] = found[1] if found else None
    for package in ("nvidia-cublas", "nvidia-cublas-cu13", "nvidia-cublas-cu12"):
        try:
            fields["cublas"] = importlib.metadata.version(package)
            break
        except importlib.metadata.PackageNotFoundError:
            continue
    return fields


def cpu_name():
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1] if found else None


def describe_machine(options):
    nvcc = re.search(r"release ([0-9.]+)", output_of(options.nvcc, "--version")) if options.nvcc else None
    row = {"stage": "machine", "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    row |= gpu_fields() | torch_fields(options.torch) | {"cuda": nvcc[1] if nvcc else None}
    row |= {"cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0]}
    commit = output_of("git", "rev-parse", "HEAD")
    row["commit"] = commit or None
    if commit:
        row["changed"] = output_of("git", "status", "--porcelain", "--untracked-files=no") != ""
    add_row(options.json, row)
    print(", ".join(f"{name} {value}" for name, value in row.items() if name != "stage" and value is not None))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    work = {
        "machine": describe_machine,
        "models": measure_models,
        "search": measure_search,
        "images": make_images,
        "compare": lambda options: gpu_check_compare.compare(options.json),
    }
    for name in work:
        command = commands.add_parser(name)
        if name == "images":
            command.add_argument("folder")
        if name == "machine":
            command.add_argument("--torch", default="")
            command.add_argument("--nvcc", default="nvcc")
        command.add_argument("--all", action="store_true")
        command.add_argument("--dry-run", action="store_true")
        command.add_argument("--seconds", type=float, default=75)
        command.add_argument("--json", default="gpu-check.jsonl")
    options = parser.parse_args()
    work[options.command](options)


main()
