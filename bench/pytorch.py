"""PyTorch's side of bench/pytorch.mjs: the same weights by transformers, eager and torch.compile.

Started with FOLDER and a file of normalised float32 images [rows, 3, size, size]; answers lines "MODE BATCH SECONDS"
(MODE: eager, compile, eager-bf16, compile-bf16) with images a second, and "embed BATCH FILE" by writing eager float32
embeddings.
"""

import os
import sys
import time

import numpy as np
import torch
from transformers import CLIPVisionModelWithProjection

torch.set_num_threads(len(os.sched_getaffinity(0)))
folder, file, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
pixels = torch.from_numpy(np.fromfile(file, np.float32).reshape(-1, 3, size, size))
models = {}


def model(mode):
    if mode not in models:
        m = CLIPVisionModelWithProjection.from_pretrained(folder, attn_implementation="sdpa").eval()
        if mode.endswith("bf16"):
            m = m.to(torch.bfloat16)
        models[mode] = torch.compile(m) if mode.startswith("compile") else m
    return models[mode]


with torch.inference_mode():
    print("ready", flush=True)
    for line in sys.stdin:
        mode, batch, argument = line.split()
        m = model("eager" if mode == "embed" else mode)
        x = pixels[: int(batch)].to(torch.bfloat16 if mode.endswith("bf16") else torch.float32)
        if mode == "embed":
            m(pixel_values=x).image_embeds.numpy().tofile(argument)
            print("done", flush=True)
            continue
        m(pixel_values=x)
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < float(argument):
            m(pixel_values=x)
            done += len(x)
        print(done / (time.perf_counter() - start), flush=True)
