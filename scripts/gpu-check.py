"""The columns of PyTorch for scripts/gpu-check: CLIP's ViT in bf16, images on the GPU already, eager and torch.compile.

    python3 scripts/gpu-check.py [--quick] [--dry-run] [--json FILE]

The model is the image encoder as open_clip writes it (scaled_dot_product_attention, all tokens through all layers),
with random weights, normalised input and output in bf16. Writes {"torch": ..., "rows": [{model, batch, eager,
compiled}]}, images a second; --dry-run: a small model on the CPU.
"""

import argparse
import json
import os
import sys
import time

try:
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError:
    sys.exit("gpu-check.py: this Python has no torch")

MODELS = {
    "ViT-B/32": (224, 32, 768, 12, 12, 512, "quick_gelu"),
    "ViT-B/16": (224, 16, 768, 12, 12, 512, "quick_gelu"),
    "ViT-L/14": (224, 14, 1024, 24, 16, 768, "quick_gelu"),
    "ViT-H/14": (224, 14, 1280, 32, 16, 1024, "gelu"),
}


class QuickGelu(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, heads, activation):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGelu() if activation == "quick_gelu" else nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x):
        rows, length, width = x.shape
        q, k, v = self.qkv(self.ln_1(x)).view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, width)
        x = x + self.out(attended)
        return x + self.mlp(self.ln_2(x))


class Vit(nn.Module):
    def __init__(self, size, patch, width, layers, heads, embed, activation):
        super().__init__()
        self.conv = nn.Conv2d(3, width, patch, patch, bias=False)
        self.token = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn((size // patch) ** 2 + 1, width) * width**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.Sequential(*[Block(width, heads, activation) for _ in range(layers)])
        self.projection = nn.Parameter(torch.randn(width, embed) * width**-0.5)

    def forward(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], 1, -1), x], 1) + self.positions
        x = self.blocks(self.ln_pre(x))
        return F.normalize(self.ln_post(x[:, 0]) @ self.projection, dim=-1)


def speed(model, x, repeats, device):
    def wait():
        if device == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        for _ in range(3):
            model(x)
        wait()
        start = time.perf_counter()
        for _ in range(repeats):
            model(x)
        wait()
    return x.shape[0] * repeats / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--json", default="pytorch.json")
    options = parser.parse_args()
    device = "cpu" if options.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("gpu-check.py: torch sees no CUDA device")
    models, batches = MODELS, [1, 8, 32, 128, 256, 512, 1024]
    if options.quick:
        models, batches = {name: MODELS[name] for name in ("ViT-B/32", "ViT-L/14")}, [1, 32, 256, 1024]
    if options.dry_run:
        models, batches = {"small": (32, 8, 64, 2, 2, 32, "quick_gelu")}, [1, 3]
    rows = []
    for name, shape in models.items():
        torch.manual_seed(0)
        model = Vit(*shape).eval().to(device, torch.bfloat16)
        compiled = None if options.dry_run else torch.compile(model, dynamic=False)
        for batch in batches:
            x = torch.randn(batch, 3, shape[0], shape[0], device=device, dtype=torch.bfloat16)
            repeats = 1 if options.dry_run else 30 if batch <= 32 else 10
            row = {"model": name, "batch": batch, "eager": speed(model, x, repeats, device), "compiled": 0}
            if compiled is not None:
                try:
                    row["compiled"] = speed(compiled, x, repeats, device)
                except Exception as error:  # no C compiler, no Triton ...: eager alone
                    print(f"torch.compile failed: {str(error).splitlines()[0]}")
                    compiled = None
            rows.append(row)
            print(f"{name:9} {batch:5}  eager {row['eager']:9.0f} images/s  compiled {row['compiled']:9.0f} images/s", flush=True)
        torch.compiler.reset() if hasattr(torch, "compiler") else None
    with open(options.json + ".tmp", "w") as file:
        json.dump({"torch": torch.__version__, "rows": rows}, file, indent=1)
    os.replace(options.json + ".tmp", options.json)


main()
