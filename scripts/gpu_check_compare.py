"""What scripts/gpu-check measured, beside PyTorch, the CPU and the goals. Its rows replace earlier ones."""

import json
import os

GOAL_SPEEDS = {  # images a second that the device holds already, at the best batch
    ("ViT-B/32", "bf16"): 55_000,
    ("ViT-B/32", "fp8"): 80_000,
    ("ViT-L/14", "bf16"): 3_600,
    ("ViT-L/14", "fp8"): 5_000,
}
GOAL_COMPILED = 1.3  # times torch.compile
GOAL_HOST = 0.85  # of the device's speed, from the host's memory with two calls in flight, from this batch on:
HOST_BATCH = 256
HOST_WAY = "two calls in flight"
GOAL_COSINES = {"fp32": 1 - 1e-6, "fp16": 0.9999, "bf16": 0.9995, "fp8": 0.99}  # least, to the CPU's float32
GOAL_TOP_K = {"residentScanMilliseconds": 0.75, "residentMilliseconds": 0.25}  # up to 16 queries, rows on the device
TOP_K_NAMES = {"residentScanMilliseconds": "by all rows", "residentMilliseconds": "by the int8 copy"}
GOAL_ROWS, GOAL_QUERIES = 1_000_000, 16


def read_rows(path):
    """The rows of a file. A line that a killed program left unfinished is no row."""
    rows = []
    with open(path) as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if isinstance(row, dict):
                rows.append(row)
    return rows


def write_rows(path, rows):
    """Replaces the file at once, so that no row is lost if this is killed."""
    beside = f"{path}.new"
    with open(beside, "w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    os.replace(beside, path)


def speeds_in(rows, precision, what="imagesPerSecond", device="cuda"):
    """Images (texts) a second by model and batch; the last row counts."""
    wanted = {"stage": "speed", "device": device, "precision": precision}.items()
    return {(row["model"], row["batch"]): row[what] for row in rows if row.items() >= wanted and row.get(what)}


def pytorch_speeds(rows):
    """PyTorch's images a second by model, batch and how."""
    found = [row for row in rows if row.get("stage") == "pytorch" and "imagesPerSecond" in row]
    return {(row["model"], row["batch"], row["how"]): row["imagesPerSecond"] for row in found}


def host_speeds(rows):
    """Images a second from the host's memory by model, batch and how."""
    found = [row for row in rows if row.get("stage") == "host" and "how" in row]
    return {(row["model"], row["batch"], row["how"]): row["imagesPerSecond"] for row in found}


def least_cosines(rows):
    """The least cosine of the embeddings to the CPU's in float32, by model and precision."""
    least = {}
    for row in rows:
        if row.get("stage") != "accuracy" or "precision" not in row:
            continue
        for name in ("imageCosine", "textCosine"):
            if name in row:
                key = (row["model"], row["precision"])
                least[key] = min(least.get(key, 1), -1 if row[name] is None else row[name])
    return least


def searches_in(rows):
    """The searches by number of queries."""
    return {row["queries"]: row for row in rows if row.get("stage") == "search" and "queries" in row}


class Comparison:
    """Collects rows, and prints each."""

    def __init__(self):
        self.rows = []

    def add(self, text, **fields):
        self.rows.append({"stage": "compare"} | fields)
        print(text)

    def ratio(self, model, batch, ratio, how, text):
        self.add(f"{model:9} batch {batch:4}  {ratio:6.2f} {text}", model=model, batch=batch, how=how, ratio=ratio)

    def goal(self, what, measured, limit, at_least=True, digits=0):
        met = None
        if measured is not None:
            met = measured >= limit if at_least else measured <= limit
        number = "not measured" if measured is None else f"{measured:.{digits}f}"
        word = {True: "reached", False: "MISSED", None: ""}[met]
        bound = f"{'>=' if at_least else '<='} {limit:.{digits}f}"
        text = f"goal  {what:48} {number:>12}  {bound:12} {word}".rstrip()
        self.add(text, what="goal", goal=what, measured=measured, limit=limit, met=met)


def compare_fp8(out, rows):
    bf16, fp8, cosines = speeds_in(rows, "bf16"), speeds_in(rows, "fp8"), least_cosines(rows)
    for model, batch in sorted(fp8.keys() & bf16.keys()):
        cosine = cosines.get((model, "fp8"))
        number = "not measured" if cosine is None else f"{cosine:.6f}"
        ratio = fp8[model, batch] / bf16[model, batch]
        out.ratio(model, batch, ratio, "fp8 against bf16", f"times bf16 in fp8, least cosine to fp32 {number}")


def compare_cpu(out, rows):
    """The device's bf16 over the CPU's faster precision, with the same batch."""
    for what, name in (("imagesPerSecond", "images"), ("textsPerSecond", "texts")):
        ours = speeds_in(rows, "bf16", what)
        cpu = [speeds_in(rows, precision, what, "cpu") for precision in ("fp32", "bf16")]
        for model, batch in sorted(ours):
            best = max((speeds.get((model, batch), 0) for speeds in cpu), default=0)
            if best:
                out.ratio(model, batch, ours[model, batch] / best, f"CPU, {name}", f"times the CPU, {name}")


def compare_host(out, rows):
    ours = speeds_in(rows, "bf16")
    for (model, batch, how), speed in sorted(host_speeds(rows).items()):
        if (model, batch) in ours:
            text = f"of the device's speed from host memory, {how}"
            out.ratio(model, batch, speed / ours[model, batch], f"host, {how}", text)


def compare_pytorch(out, rows):
    ours = speeds_in(rows, "bf16")
    for (model, batch, how), speed in sorted(pytorch_speeds(rows).items()):
        if (model, batch) in ours:
            out.ratio(model, batch, ours[model, batch] / speed, how, f"times PyTorch {how}")


def compare_searches(out, rows):
    """The time of PyTorch's search with the base on the device over that of torchclip's."""
    ours = searches_in(rows)
    for row in rows:
        if row.get("what") != "top-k" or row.get("how") != "base on the device" or row["queries"] not in ours:
            continue
        queries, ratio = row["queries"], row["milliseconds"] / ours[row["queries"]]["residentMilliseconds"]
        text = f"top-k, {queries:4} queries  {ratio:6.2f} times PyTorch, rows on the device"
        out.add(text, what="top-k", queries=queries, ratio=ratio)


def compare_goals(out, rows):
    for (model, precision), limit in GOAL_SPEEDS.items():
        speeds = [speed for (of, _), speed in speeds_in(rows, precision).items() if of == model]
        out.goal(f"{model} {precision}, images/s", max(speeds, default=None), limit)
    ours, compiled, host = speeds_in(rows, "bf16"), pytorch_speeds(rows), host_speeds(rows)
    for model in sorted({model for model, _ in GOAL_SPEEDS}):
        ratios = [
            ours[of, batch] / speed
            for (of, batch, how), speed in compiled.items()
            if (of, how) == (model, "default") and (of, batch) in ours
        ]
        out.goal(f"{model} bf16, times torch.compile", min(ratios, default=None), GOAL_COMPILED, digits=2)
        shares = [
            speed / ours[of, batch]
            for (of, batch, how), speed in host.items()
            if (of, how) == (model, HOST_WAY) and batch >= HOST_BATCH and (of, batch) in ours
        ]
        out.goal(f"{model} bf16, host memory / device", min(shares, default=None), GOAL_HOST, digits=2)
    for (model, precision), cosine in sorted(least_cosines(rows).items()):
        if precision in GOAL_COSINES:
            out.goal(f"{model} {precision}, least cosine to fp32", cosine, GOAL_COSINES[precision], digits=6)
    searches = searches_in(row for row in rows if row.get("rows") == GOAL_ROWS).values()
    searches = [row for row in searches if row["queries"] <= GOAL_QUERIES]
    for name, limit in GOAL_TOP_K.items():
        slowest = max((row[name] for row in searches), default=None)
        out.goal(f"top-10 of 1M x 512 {TOP_K_NAMES[name]}, ms", slowest, limit, at_least=False, digits=3)


def compare(path):
    rows = [row for row in read_rows(path) if row.get("stage") != "compare"]
    out = Comparison()
    for part in (compare_fp8, compare_cpu, compare_host, compare_pytorch, compare_searches, compare_goals):
        part(out, rows)
    write_rows(path, rows + out.rows)
    for row in rows:
        if isinstance(row.get("failed"), str):
            print(f"FAILED: {row['failed']}")
