"""faiss-cpu's IndexFlatIP for bench/top-k.mjs: reads float32 rows, then answers lines "N REPEATS" with milliseconds a search."""

import sys
import time

import faiss
import numpy as np

base, queries, dim = (np.fromfile(sys.argv[1], np.float32), np.fromfile(sys.argv[2], np.float32), int(sys.argv[3]))
index = faiss.IndexFlatIP(dim)
index.add(base.reshape(-1, dim))
queries = queries.reshape(-1, dim)
print("ready", flush=True)
for line in sys.stdin:
    count, repeats = map(int, line.split())
    start = time.perf_counter()
    for _ in range(repeats):
        _, rows = index.search(queries[:count], 10)
    print((time.perf_counter() - start) * 1000 / repeats, rows[0][0], flush=True)
