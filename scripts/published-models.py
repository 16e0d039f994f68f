"""Writes lib/models/published.ts: open_clip's table of pretrained weights, as far as torchclip runs them.

    python scripts/published-models.py      # needs open_clip_torch, see scripts/goldens/requirements.txt
"""

import json
from pathlib import Path

from open_clip import pretrained

# Architectures that torchclip does not have: see docs/architectures.md.
LEFT_OUT = ("ViTamin", "PE-", "nllb", "ViT-H-14-worldwide", "ViT-bigG-14-worldwide")

entries = []
for arch, tags in pretrained._PRETRAINED.items():
    if arch.startswith(LEFT_OUT) or arch.endswith("-quickgelu"):
        continue  # "-quickgelu" names repeat the tags of the plain name
    for tag, config in tags.items():
        repo = (config.get("hf_hub") or "").rstrip("/")
        if repo:
            entries.append({"name": f"{arch}/{tag}", "repo": repo, **({"quickGelu": True} if config.get("quick_gelu") else {})})

out = Path(__file__).parent.parent / "lib" / "models" / "published.ts"
lines = [f'  ["{e["name"]}", "{e["repo"]}", {"true" if e.get("quickGelu") else "false"}],' for e in entries]
out.write_text(
    "// Written by scripts/published-models.py.\n\n"
    "/** open_clip's `architecture/tag`, the hub repository that holds its weights, and whether it was trained with QuickGELU. */\n"
    "export const PUBLISHED: readonly (readonly [name: string, repo: string, quickGelu: boolean])[] = [\n" + "\n".join(lines) + "\n];\n"
)
print(f"{out}: {len(entries)} models")
