"""Trains `tiny`, the CLIP that ships with torchclip, and writes its weights as OpenAI-named safetensors.

Run by scripts/train-tiny/run.sh; see docs/tiny.md. Needs torch 2.13.0, safetensors, tokenizers, numpy.
The model is CLIP's own architecture (Radford et al. 2021, section 2.4) at a small size: ViT image tower,
causal text transformer, contrastive loss. Where a batch holds the same caption twice, both images count
as its match (the targets of UniCL, Yang et al. 2022); for captions that differ this is CLIP's loss.
"""

import argparse
import json
import math
import random
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

IMAGE_SIZE, PATCH, CONTEXT = 224, 32, 32
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width).normal_(std=width**-0.5))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x, causal):
        b, n, w = x.shape
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # Written out: at 50 tokens this is several times faster on a CPU than the fused kernel's backward pass.
        scores = q @ k.transpose(-1, -2) * (w // self.heads) ** -0.5
        if causal:
            scores = scores + torch.full((n, n), float("-inf"), dtype=scores.dtype).triu(1)
        x = scores.softmax(-1) @ v
        return self.out_proj(x.transpose(1, 2).reshape(b, n, w))


class Activation(nn.Module):
    """x * sigmoid(x); write() scales the weights around it so that the exported model has QuickGELU."""

    def forward(self, x):
        return F.silu(x)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential()
        self.mlp.add_module("c_fc", nn.Linear(width, 4 * width))
        self.mlp.add_module("gelu", Activation())
        self.mlp.add_module("c_proj", nn.Linear(4 * width, width))

    def forward(self, x, causal):
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

    def forward(self, x, causal):
        for block in self.resblocks:
            x = block(x, causal)
        return x


class Visual(nn.Module):
    def __init__(self, width, layers, heads, dim):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, PATCH, PATCH, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn((IMAGE_SIZE // PATCH) ** 2 + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, heads)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, dim))

    def forward(self, x):
        # x: [B, 49, 3 * 32 * 32], from normalised(); the patch convolution is one matrix product.
        x = F.linear(x, self.conv1.weight.flatten(1))
        x = torch.cat([self.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.transformer(self.ln_pre(x), False)
        return self.ln_post(x[:, 0]) @ self.proj


class CLIP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.visual = Visual(c["vision_width"], c["vision_layers"], c["vision_heads"], c["embed_dim"])
        self.transformer = Transformer(c["text_width"], c["text_layers"], c["text_heads"])
        self.token_embedding = nn.Embedding(c["vocab_size"], c["text_width"])
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(CONTEXT, c["text_width"]))
        self.ln_final = nn.LayerNorm(c["text_width"])
        self.text_projection = nn.Parameter(c["text_width"] ** -0.5 * torch.randn(c["text_width"], c["embed_dim"]))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def encode_image(self, x):
        return self.visual(x)

    def encode_text(self, ids):
        x = self.token_embedding(ids) + self.positional_embedding[: ids.shape[1]]
        x = self.ln_final(self.transformer(x, True))
        return x[torch.arange(len(x)), ids.argmax(-1)] @ self.text_projection


def patched(pixels):
    """uint8 [N, 224, 224, 3] to uint8 [N, 49, 3, 32 * 32], once for the whole training."""
    n, g = len(pixels), IMAGE_SIZE // PATCH
    return np.ascontiguousarray(pixels.reshape(n, g, PATCH, g, PATCH, 3).transpose(0, 1, 3, 5, 2, 4)).reshape(n, g * g, 3, -1)


def normalised(batch):
    """uint8 [B, 49, 3, 1024] to bf16 [B, 49, 3072]."""
    mean, std = (torch.tensor(v).view(3, 1).bfloat16() * 255 for v in (MEAN, STD))
    return batch.bfloat16().sub_(mean).div_(std).flatten(2)


CLASS_CAPTIONS = [
    "a {} review of a movie.",
    "a photo of a {} review",
    "a photo of a {}",
    "a {} film review",
    "{}",
    "a {} review",
]
TEXT_CAPTIONS = ["{}", 'a review that says "{}"', "the words {}", 'a photo of the text "{}"']


def caption(record, rng):
    if record["kind"] == "scene":
        return rng.choice(record["captions"]) if rng.random() < 0.6 else rng.choice(record["captions"][:3])
    if rng.random() < 0.45:
        return rng.choice(CLASS_CAPTIONS).format(("negative", "positive")[record["label"]])
    return rng.choice(TEXT_CAPTIONS).format(record["text"])


def train_tokenizer(records, vocab_size, path):
    """A byte-level BPE in the layout of CLIP's tokenizer.json, learned from the training captions."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tok = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tok.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    corpus = [t.format(w) for t in CLASS_CAPTIONS for w in ("negative", "positive")]
    for r in records:
        corpus += r["captions"] if r["kind"] == "scene" else [r["text"]]
    # Every byte, alone and at a word's end, keeps any text encodable, as in CLIP's vocabulary.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 2, initial_alphabet=alphabet, end_of_word_suffix="</w>", special_tokens=[], show_progress=False
    )
    tok.train_from_iterator(corpus, trainer)
    data = json.loads(tok.to_str())
    learned = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in data["model"]["merges"]]
    names = alphabet + [a + "</w>" for a in alphabet] + ["".join(m) for m in learned]
    vocab = {name: i for i, name in enumerate(dict.fromkeys(names))}
    sot, eot = "<|startoftext|>", "<|endoftext|>"
    vocab[sot] = len(vocab)
    vocab[eot] = len(vocab)
    data["model"]["vocab"] = vocab
    data["model"]["merges"] = [" ".join(m) for m in learned]
    special = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    data["added_tokens"] = [dict(id=vocab[t], content=t, **special) for t in (sot, eot)]
    tok = Tokenizer.from_str(json.dumps(data))
    tok.post_processor = processors.RobertaProcessing((eot, vocab[eot]), (sot, vocab[sot]), trim_offsets=False, add_prefix_space=False)
    tok.decoder = decoders.ByteLevel()
    tok.save(path)
    return tok


def ids_of(tok, texts):
    out = torch.zeros(len(texts), CONTEXT, dtype=torch.long)
    for i, e in enumerate(tok.encode_batch(texts)):
        ids = e.ids if len(e.ids) <= CONTEXT else e.ids[: CONTEXT - 1] + e.ids[-1:]
        out[i, : len(ids)] = torch.tensor(ids)
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--images", nargs="+", required=True, help="prefixes written by images.ts")
    p.add_argument("--out", required=True)
    p.add_argument("--minutes", type=float, default=60, help="the schedule's steps are set from --steps; this only stops a slow machine")
    p.add_argument("--steps", type=int, default=20000)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    torch.set_flush_denormal(True)
    rng = random.Random(a.seed)
    nrng = np.random.default_rng(a.seed)

    records, arrays = [], []
    for prefix in a.images:
        rows = [json.loads(line) for line in open(prefix + ".jsonl")]
        arrays.append(patched(np.memmap(prefix + ".bin", np.uint8, "r", shape=(len(rows), IMAGE_SIZE, IMAGE_SIZE, 3))))
        records += rows
    images = np.concatenate(arrays)
    print(len(records), "images", flush=True)

    tok = train_tokenizer(records, 1024, a.out + ".tokenizer.json")
    config = dict(
        embed_dim=192, vision_width=256, vision_layers=4, vision_heads=4, image_size=IMAGE_SIZE, patch_size=PATCH,
        text_width=128, text_layers=3, text_heads=2, context_length=CONTEXT, vocab_size=tok.get_vocab_size(), activation="quick_gelu",
    )  # fmt: skip
    model = CLIP(config)
    print(sum(x.numel() for x in model.parameters()) / 1e6, "M parameters", flush=True)
    decay = [x for x in model.parameters() if x.ndim >= 2]
    rest = [x for x in model.parameters() if x.ndim < 2]
    opt = torch.optim.AdamW([dict(params=decay, weight_decay=0.1), dict(params=rest, weight_decay=0)], lr=a.lr, betas=(0.9, 0.98), eps=1e-6)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) .bfloat16() * 255 for v in (MEAN, STD))

    start = time.time()
    for step in range(a.steps):
        warm = min(1, (step + 1) / 500)
        for g in opt.param_groups:
            g["lr"] = a.lr * warm * (0.5 + 0.5 * math.cos(math.pi * step / a.steps))
        rows = nrng.integers(0, len(records), a.batch)
        texts = [caption(records[i], rng) for i in rows]
        x = normalised(torch.from_numpy(images[rows]))
        unique = {t: i for i, t in enumerate(dict.fromkeys(texts))}
        column = torch.tensor([unique[t] for t in texts])
        with torch.autocast("cpu", torch.bfloat16):
            img = model.encode_image(x)
            txt = model.encode_text(ids_of(tok, texts))
        img, txt = F.normalize(img.float(), dim=-1), F.normalize(txt.float(), dim=-1)
        logits = model.logit_scale.exp() * img @ txt.t()
        same = (column[:, None] == column[None, :]).float()
        target = same / same.sum(1, keepdim=True)
        loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        if step % 100 == 0:
            with torch.no_grad():
                hit = same[torch.arange(a.batch), logits.argmax(1)].mean().item()
            rate = (step + 1) * a.batch / (time.time() - start)
            print(f"step {step} loss {loss.item():.3f} retrieval@1 {hit:.3f} {rate:.0f} images/s", flush=True)
        if step % 2000 == 1999:
            write(model, config, a.out)
        if time.time() - start > a.minutes * 60:
            print("stopped by --minutes at step", step, flush=True)
            break
    write(model, config, a.out)


def write(model, config, out):
    state = dict(model.state_dict())
    for k in list(state):
        # silu(z) = 1.702 * quick_gelu(z / 1.702), so these weights give QuickGELU's CLIP the same function.
        if ".mlp.c_fc." in k:
            state[k] = state[k] / 1.702
        if k.endswith(".mlp.c_proj.weight"):
            state[k] = state[k] * 1.702
    # fp16 on disk, as OpenAI publishes CLIP: half the size, and the values the reference code then uses too.
    save_file({k: v.half().contiguous() for k, v in state.items()}, out + ".safetensors", metadata={"config": json.dumps(config)})


if __name__ == "__main__":
    main()
