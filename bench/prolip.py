"""ProLIP by torch with autograd for bench/prolip.mjs: reads what lies in the folder, then answers each line "STEPS" with
the seconds of a fit, whose matrix it writes to the file `result`."""

import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

folder = sys.argv[1]
pooled_dim, dim, classes, threads = map(int, sys.argv[2:6])
scale = float(sys.argv[6])
torch.set_num_threads(threads)


def read(name, dtype, *shape):
    return torch.from_numpy(np.fromfile(os.path.join(folder, name), dtype).reshape(*shape))


features, labels = read("features", np.float32, -1, pooled_dim), read("labels", np.int32, -1).long()
texts, first = read("texts", np.float32, classes, dim), read("matrix", np.float32, dim, pooled_dim)
penalty = classes / len(labels)


def fit(steps):
    matrix = torch.nn.Parameter(first.clone())
    optimizer = torch.optim.Adam([matrix], lr=1e-5, eps=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        embeddings = F.normalize(features @ matrix.T, dim=-1)
        loss = F.cross_entropy(scale * embeddings @ texts.T, labels) + penalty * ((matrix - first) ** 2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return matrix.detach()


print("ready", flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    result = fit(int(line))
    seconds = time.perf_counter() - start
    result.numpy().tofile(os.path.join(folder, "result"))
    print(seconds, flush=True)
