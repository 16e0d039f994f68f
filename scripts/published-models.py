"""Writes lib/models/catalog/published.ts and docs/models.md: open_clip's table of pretrained weights, as far as torchclip runs them,
with the sizes and accuracies that open_clip publishes (docs/model_profile.csv and docs/openclip_results.csv of its repository).

    npm run build && python scripts/published-models.py OPEN_CLIP_REPOSITORY/docs

Needs open_clip_torch, see scripts/goldens/requirements.txt.
"""

import csv
import json
import subprocess
import sys
from pathlib import Path

import open_clip
from open_clip import pretrained

# Architectures that torchclip does not have: see docs/architectures.md.
LEFT_OUT = ("ViTamin", "PE-", "nllb", "ViT-H-14-worldwide", "ViT-bigG-14-worldwide")

# README.md of apple/ml-mobileclip: parameters in millions and accuracy on ImageNet; it has none on Rendered SST2.
APPLE = {
    "MobileCLIP-S1/datacompdr": (84.9, 72.6), "MobileCLIP-S2/datacompdr": (99.1, 74.4), "MobileCLIP-B/datacompdr": (149.7, 76.8),
    "MobileCLIP-B/datacompdr_lt": (149.7, 77.2), "MobileCLIP2-S0/dfndr2b": (53.8, 71.5), "MobileCLIP2-S2/dfndr2b": (99.1, 77.2),
    "MobileCLIP2-B/dfndr2b": (149.7, 79.4), "MobileCLIP2-S3/dfndr2b": (248.7, 80.7), "MobileCLIP2-S4/dfndr2b": (445.2, 81.9),
    "MobileCLIP2-L-14/dfndr2b": (427.9, 81.9),
}

docs = Path(sys.argv[1])
root = Path(__file__).parent.parent
plain = lambda name: name.removesuffix("-quickgelu")  # noqa: E731  the activation changes no size
results = {(plain(r["name"]), r["pretrained"]): r for r in csv.DictReader((docs / "openclip_results.csv").open())}
sizes = {plain(r["model"]): r["mparams"] for r in csv.DictReader((docs / "model_profile.csv").open())}
sizes |= {name: r["params (M)"] for (name, _), r in results.items()}


def percent(row, column):
    return round(100 * float(row[column]), 2) if row and row.get(column) else None


entries, table = [], []
for arch, tags in pretrained._PRETRAINED.items():
    if arch.startswith(LEFT_OUT) or arch.endswith("-quickgelu"):
        continue  # "-quickgelu" names repeat the tags of the plain name
    config = open_clip.get_model_config(arch)
    size, context = config["vision_cfg"]["image_size"], config["text_cfg"].get("context_length", 77)
    for tag, source in tags.items():
        repo = (source.get("hf_hub") or "").rstrip("/")
        if not repo:
            continue
        result = results.get((arch, tag))
        row = [f"{arch}/{tag}", repo, bool(source.get("quick_gelu")), percent(result, "Rendered SST2"), percent(result, "ImageNet 1k")]
        millions = sizes.get(arch)
        if row[0] in APPLE:
            millions, row[4] = APPLE[row[0]]
        entries.append([*row, round(float(millions)) if millions else None, size])
        parameters = f"{float(millions):.0f} M" if millions else ""
        table.append((row, parameters, f"{size} | {context} | {config['embed_dim']}"))

out = root / "lib" / "models" / "catalog" / "published.ts"
lines = [f"  {json.dumps(e)}," for e in entries]
out.write_text(
    "// Written by scripts/published-models.py.\n\n"
    "/**\n * open_clip's `architecture/tag`, the hub repository that holds its weights, whether it was trained with\n"
    " * QuickGELU, and its zero-shot accuracy on Rendered SST2 and ImageNet, percent, where it is published\n"
    " * (open_clip's docs/openclip_results.csv, apple/ml-mobileclip's README.md); millions of parameters of both\n"
    " * towers (open_clip's docs/model_profile.csv), and the side of its images in pixels.\n */\n"
    "export type Published = readonly [name: string, repo: string, quickGelu: boolean, renderedSst2: number | null, imagenet: number | null, millions: number | null, imageSize: number];\n\n"
    "export const PUBLISHED: readonly Published[] = [\n"
    + "\n".join(lines) + "\n];\n"
)
subprocess.run(["npx", "prettier", "--write", "--log-level", "warn", str(out)], check=True, cwd=root)
subprocess.run(["npm", "run", "--silent", "build"], check=True, cwd=root, stdout=subprocess.DEVNULL)
listed = json.loads(subprocess.run(["node", "dist/cli/main.js", "models", "--json"], check=True, cwd=root, capture_output=True).stdout)
known = {name: m for m in listed for name in (m["name"], *m["aliases"])}
text = [
    "# Models by name",
    "",
    "What `torchclip models` lists, besides `tiny`. Zero-shot accuracies in percent are those that open_clip publishes",
    "(its docs/openclip_results.csv; MobileCLIP: the README of apple/ml-mobileclip), not measured here; an empty cell is empty there. Parameters, image side, context length",
    "and embedding dimension are open_clip's; licences are the publishers', whose model cards count. How each architecture was",
    "verified: [architectures.md](architectures.md). This page is written by `scripts/published-models.py`.",
    "",
    "Download and memory are what `torchclip models --json` says under `size`. Download: OpenAI's files to the byte, others (~) four",
    "bytes a parameter, as most repositories hold fp32; a few hold fp16, half of that. The artifact made of it takes as much once more",
    "(`torchclip models rm NAME --weights` removes both). Memory: computed, not measured, the resident set after `load` on the CPU: 0.2 GB for",
    "Node.js and libtorch, and four bytes a parameter in fp32, two in bf16; [performance.md](performance.md#memory) has measured ones.",
    "",
    "| name | weights | parameters | download | memory fp32, bf16 | image | context | embedding | Rendered SST2 | ImageNet | licence |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
]


def size_text(size):
    """Download and memory of a model, as cells."""
    if size is None:
        return " | "
    text = lambda n: f"{n / 1e6:.0f} MB" if n < 1e9 else f"{n / 1e9:.1f} GB"  # noqa: E731
    fp32, bf16 = (f"{size['memory'][p] / 1e9:.1f}" for p in ("fp32", "bf16"))
    return f"{'' if size['exact'] else '~'}{text(size['download'])} | {fp32} GB, {bf16} GB"


for (name, repo, _, sst2, imagenet), parameters, shape in table:
    model = known[name]
    weights = "OpenAI's own file" if name.endswith("/openai") else repo
    cell = lambda x: "" if x is None else f"{x:.2f}"  # noqa: E731
    text.append(f"| {model['name']} | {weights} | {parameters} | {size_text(model.get('size'))} | {shape} | {cell(sst2)} | {cell(imagenet)} | {model['licence']} |")
(root / "docs" / "models.md").write_text("\n".join(text) + "\n")
print(f"{len(entries)} models, {sum(e[4] is not None for e in entries)} with accuracies")
