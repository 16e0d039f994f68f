"""TorchScript exports of a CLIP that is nobody's layout, scripted and traced, with what they give.

    python scripts/goldens/foreign.py       # writes test/fixtures/models/foreign-*.pt and test/goldens/foreign.json
"""

import json
import sys

import torch
from torch import nn

sys.path.insert(0, "scripts/goldens")
from write import noise_image  # noqa: E402

SIZE, PATCH, CONTEXT, VOCABULARY, DIM = 32, 16, 12, 572, 8
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


class Strange(nn.Module):
    """Mean-pooled patches and words through a mixing layer: no CLIP, but a pair of encoders."""

    def __init__(self):
        super().__init__()
        self.patchify = nn.Conv2d(3, 24, PATCH, PATCH)
        self.image_pos = nn.Parameter(torch.randn((SIZE // PATCH) ** 2, 24))
        self.mix = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), nn.SiLU(), nn.Linear(48, DIM))
        self.token_embedding = nn.Embedding(VOCABULARY, 16)
        self.word_pos = nn.Parameter(torch.randn(CONTEXT, 16))
        self.words = nn.Linear(16, DIM)

    def encode_image(self, image):
        x = self.patchify(image).flatten(2).transpose(1, 2) + self.image_pos
        return self.mix(x).mean(1)

    def encode_text(self, ids):
        return self.words(torch.tanh(self.token_embedding(ids) + self.word_pos)).mean(1)

    def forward(self, image, ids):
        return self.encode_image(image), self.encode_text(ids)


class Reader(nn.Module):
    """The same with an operator that reads files: refused."""

    def __init__(self):
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, 16)

    @torch.jit.export
    def encode_image(self, image):
        return torch.from_file("/etc/passwd", size=8).view(1, 8)

    @torch.jit.export
    def encode_text(self, ids):
        return self.token_embedding(ids).mean(1)

    def forward(self, image):
        return self.encode_image(image)


class Endless(nn.Module):
    """Its image method never returns unless the image is all zeros, as it is when the export is tried at import."""

    def __init__(self):
        super().__init__()
        self.token_embedding = nn.Embedding(822, 8)
        self.positional_embedding = nn.Parameter(torch.zeros(12, 8))
        self.w = nn.Parameter(torch.ones(3, 8))

    @torch.jit.export
    def encode_image(self, image):
        y = image.mean([2, 3]) @ self.w
        while bool((image.sum() != 0).item()):
            y = y + 0
        return y

    @torch.jit.export
    def encode_text(self, ids):
        return self.token_embedding(ids).mean([1])

    def forward(self, image):
        return self.encode_image(image)


torch.manual_seed(11)
model = Strange().eval()
images = torch.stack([(torch.tensor(noise_image(seed, SIZE, SIZE, 3)).permute(2, 0, 1) / 255 - MEAN) / STD for seed in (1, 2)]).float()
ids = torch.tensor([[570, 5, 6, 7, 571] + [0] * 7, [570, 44, 571] + [0] * 9])
traced = torch.jit.trace_module(model, {"encode_image": images[:1], "encode_text": ids[:1]})
scripted = torch.jit.script(model)  # forward() brings both methods along
folder = "test/fixtures/models"
scripted.save(f"{folder}/foreign-scripted.pt")
traced.save(f"{folder}/foreign-traced.pt")
torch.jit.script(Reader()).save(f"{folder}/foreign-reader.pt")
torch.jit.script(Endless()).save(f"{folder}/foreign-endless.pt")
with torch.no_grad():
    unit = lambda x: (x / x.norm(dim=1, keepdim=True)).tolist()
    result = {"ids": ids.tolist(), "image": unit(model.encode_image(images)), "text": unit(model.encode_text(ids))}
json.dump(result, open("test/goldens/foreign.json", "w"))
