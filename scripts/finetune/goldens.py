"""Writes test/goldens/finetune.json: twenty steps of training by PyTorch, transformers and PEFT on fp32 CPU.

    npx tsx scripts/finetune/export-tiny.ts tiny-transformers
    python scripts/finetune/goldens.py tiny-transformers

The models are `tiny` and the random ones of scripts/goldens/families.py. Images, labels and the start of adapters are a
function of their place (as test/support/noise.ts has it), so that results alone are stored: the loss of each step and, of
each trained tensor's change, the norm and products with vectors of random signs. The root of the mean square of the
differences of such products estimates the norm of the difference of two changes. Needs torch 2.13.0, transformers 5.23.0,
peft 0.21.2, safetensors, numpy."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "goldens"))

STEPS, ROWS, CLASSES, PRODUCTS = 20, 6, 4, 8
ADAMW = {"optimizer": "adamw", "learningRate": 1e-3, "weightDecay": 0.1}
SGD = {"optimizer": "sgd", "learningRate": 1e-3, "momentum": 0.9}
FAST_SGD = {**SGD, "learningRate": 5e-3}
LORA = {"towers": "both", "projections": ["q", "k", "v", "out"], "rank": 2, "alpha": 3, "dropout": 0, "rankStabilized": True}
PLAIN_LORA = {**LORA, "towers": "image", "projections": ["q", "v"], "rank": 4, "rankStabilized": False}
CASES = [
    {"model": "transformers CLIP", "method": "image", **ADAMW},
    {"model": "transformers CLIP", "method": "image", **FAST_SGD, "accumulate": 2, "largestNorm": 0.5},
    {"model": "transformers CLIP", "method": "image", **ADAMW, "optimizer": "adam"},
    {"model": "transformers CLIP", "method": "last-layers", "layers": 1, **ADAMW},
    {"model": "transformers CLIP", "method": "lora", "lora": LORA, **ADAMW},
    {"model": "transformers CLIP", "method": "lora", "lora": LORA, **FAST_SGD},
    {"model": "transformers CLIP", "method": "flyp", **ADAMW},
    {"model": "transformers CLIP", "method": "flyp", **SGD},
    {"model": "transformers SigLIP", "method": "image", **ADAMW},
    {"model": "transformers SigLIP", "method": "flyp", **SGD},
    {"model": "tiny", "method": "image", **ADAMW, "learningRate": 1e-4},
    {"model": "tiny", "method": "image", **SGD, "learningRate": 2e-2},
    {"model": "tiny", "method": "lora", "lora": PLAIN_LORA, **ADAMW},
    {"model": "tiny", "method": "flyp", **ADAMW, "learningRate": 1e-4},
]


def noise(seed: int, count: int) -> np.ndarray:
    """Whole numbers in [0, 2^32) from a counter-based hash; test/support/noise.ts has the same."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    return h ^ (h >> np.uint64(13))


def load(name: str, tiny: str):
    """A model with its mean and deviation of pixels."""
    if name == "tiny":
        processor = json.loads(Path(tiny, "preprocessor_config.json").read_text())
        return CLIPModel.from_pretrained(tiny), processor["image_mean"], processor["image_std"]
    from families import weight

    cases = json.loads((ROOT / "test/goldens/families.json").read_text())["cases"]
    case = next(c for c in cases if c["name"] == name)
    config, processor = case["files"]["config.json"], case["files"]["preprocessor_config.json"]
    model = SiglipModel(SiglipConfig(**config)) if config["model_type"] == "siglip" else CLIPModel(CLIPConfig(**config))
    state = {k: torch.from_numpy(np.array(weight(i, k, shape))) for i, (k, shape) in enumerate(case["shapes"])}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(k.endswith("position_ids") for k in missing), (missing, unexpected)
    return model, processor["image_mean"], processor["image_std"]


def class_ids(model) -> torch.Tensor:
    """Texts of the classes: a beginning, some tokens, the end, padding; the end has the highest id."""
    text = model.config.text_config
    length, vocabulary = text.max_position_embeddings, text.vocab_size
    ids = np.zeros((CLASSES, length), dtype=np.int64)
    for c in range(CLASSES):
        words = 3 + c
        ids[c, 0] = vocabulary - 2
        ids[c, 1 : 1 + words] = 2 + noise(7000 + c, words) % np.uint64(vocabulary - 6)
        ids[c, 1 + words] = vocabulary - 1
    return torch.from_numpy(ids)


def batch(place: int, size: int, mean, std):
    """Images of one pass, normalised, and their labels."""
    values = (noise(5000 + place, ROWS * size * size * 3) & np.uint64(255)).astype(np.float32)
    x = torch.from_numpy(values.reshape(ROWS, size, size, 3)) / 255
    x = ((x - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
    return x, torch.from_numpy((noise(6000 + place, ROWS) % np.uint64(CLASSES)).astype(np.int64))


def unit(x):
    return x / x.norm(dim=-1, keepdim=True)


def pooled(output):
    """The embedding, which transformers 5 gives inside of an object."""
    return output if torch.is_tensor(output) else output.pooler_output


def loss_of(case, model, x, labels, ids, frozen):
    images = unit(pooled(model.get_image_features(pixel_values=x)))
    scale, bias = model.logit_scale.exp(), getattr(model, "logit_bias", 0.0)
    if case["method"] == "flyp":
        logits = scale * images @ unit(pooled(model.get_text_features(input_ids=ids[labels]))).T + bias
        if hasattr(model, "logit_bias"):
            return -F.logsigmoid((2 * torch.eye(ROWS) - 1) * logits).sum() / ROWS
        own = torch.arange(ROWS)
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    trains_text = case["method"] == "lora" and case["lora"]["towers"] != "image"
    texts = unit(pooled(model.get_text_features(input_ids=ids))) if trains_text else frozen
    return F.cross_entropy(scale * images @ texts.T + bias, labels)


BLOCK = [("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")]
OTHER = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.patch_embedding.bias": "visual.conv1.bias",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm": "visual.ln_pre",
    "vision_model.post_layernorm": "visual.ln_post",
    "vision_model.head.probe": "visual.attn_pool.latent",
    "vision_model.head.attention": "visual.attn_pool",
    "vision_model.head.layernorm": "visual.attn_pool.norm",
    "vision_model.head.mlp": "visual.attn_pool.mlp",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "text.token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "text.positional_embedding",
    "text_model.final_layer_norm": "text.ln_final",
    "text_model.head.weight": "text.text_projection",
    "text_model.head.bias": "text.text_projection_bias",
    "text_projection.weight": "text.text_projection",
}


def canonical(state):
    """The tensors under torchclip's names: query, key and value joined, projections transposed."""
    out = {}
    for key, value in state.items():
        key = key.removeprefix("base_model.model.")
        if ".encoder.layers." in key:
            tower, rest = key.split("_model.encoder.layers.")
            block, rest = rest.split(".", 1)
            at = f"{'visual' if tower == 'vision' else 'text'}.transformer.resblocks.{block}."
            if "lora_" in rest:
                letter, side = rest.split(".")[1].split("_proj")[0], rest.split("lora_")[1][0].lower()
                out[f"{at}attn.lora_{letter}.{side}"] = value
            elif rest.startswith(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")):
                kind = rest.rsplit(".", 1)[-1]
                out.setdefault(f"{at}attn.in_proj_{kind}", {})["qkv".index(rest.split(".")[1][0])] = value
            else:
                for a, b in BLOCK:
                    rest = rest.replace(a, b)
                out[at + rest] = value
            continue
        for a, b in OTHER.items():
            if key == a or key.startswith(a + "."):
                key = b + key[len(a):]
                break
        transposed = key in ("visual.proj", "text.text_projection")
        out[key] = value.T if transposed else value
    return {k: torch.cat([v[i] for i in range(3)]) if isinstance(v, dict) else v for k, v in out.items()}


def start(case, tiny):
    """The model in the state before the first step, with gradients on what the method trains."""
    model, mean, std = load(case["model"], tiny)
    model.eval()  # no dropout; nothing else differs
    ids = class_ids(model)
    with torch.no_grad():
        frozen = unit(pooled(model.get_text_features(input_ids=ids)))
    method = case["method"]
    if method == "lora":
        from peft import LoraConfig, get_peft_model

        lora = case["lora"]
        towers = {"image": "vision_model", "text": "text_model", "both": "(vision_model|text_model)"}[lora["towers"]]
        modules = "|".join(f"{p}_proj" for p in lora["projections"])
        config = LoraConfig(r=lora["rank"], lora_alpha=lora["alpha"], lora_dropout=0.0, use_rslora=lora["rankStabilized"],
                            target_modules=rf"{towers}\.encoder\.layers\.\d+\.self_attn\.({modules})")
        peft = get_peft_model(model, config)
        named = {k.replace(".default", ""): p for k, p in peft.named_parameters() if p.requires_grad}
        for i, (_, p) in enumerate(sorted((k, p) for k, p in canonical(named).items() if k.endswith(".a"))):
            with torch.no_grad():
                p.copy_(torch.from_numpy((noise(8000 + i, p.numel()) / 2**31 - 1).astype(np.float32) / 8).view(p.shape))
        return model, named, mean, std, ids, frozen
    blocks = model.config.vision_config.num_hidden_layers

    def is_trained(k):
        if method == "flyp":
            return True
        if method == "image":
            return k.startswith("vision_model.")
        last = [f"vision_model.encoder.layers.{i}." for i in range(blocks - case["layers"], blocks)]
        return k.startswith((*last, "vision_model.post_layernorm.", "vision_model.head.", "visual_projection."))

    named = {}
    for k, p in model.named_parameters():
        p.requires_grad_(is_trained(k))
        if p.requires_grad:
            named[k] = p
    return model, named, mean, std, ids, frozen


def optimizer_of(case, parameters):
    rate, decay = case["learningRate"], case.get("weightDecay", 0.0)
    if case["optimizer"] == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=case["momentum"], weight_decay=decay)
    kind = torch.optim.AdamW if case["optimizer"] == "adamw" else torch.optim.Adam
    return kind(parameters, lr=rate, weight_decay=decay)


def products(change: np.ndarray, seed: int) -> list[float]:
    flat = change.reshape(-1).astype(np.float64)
    signs = [1 - 2 * ((noise(9000 + PRODUCTS * seed + k, flat.size) >> np.uint64(7)) & np.uint64(1)).astype(np.float64) for k in range(PRODUCTS)]
    return [float(f"{flat @ s:.9e}") for s in signs]


def run(case, tiny):
    model, named, mean, std, ids, frozen = start(case, tiny)
    before = {k: v.detach().clone() for k, v in canonical({k: p.detach().clone() for k, p in named.items()}).items()}
    optimizer = optimizer_of(case, list(named.values()))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=STEPS)
    passes, losses, norms = case.get("accumulate", 1), [], []
    for step in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for i in range(passes):
            x, labels = batch(step * passes + i, model.config.vision_config.image_size, mean, std)
            loss = loss_of(case, model, x, labels, ids, frozen) / passes
            loss.backward()
            total += loss.item()
        largest = case.get("largestNorm", 0) or float("inf")
        norms.append(torch.nn.utils.clip_grad_norm_(list(named.values()), largest).item())
        optimizer.step()
        schedule.step()
        losses.append(total)
    changes = {}
    for i, (k, after) in enumerate(sorted(canonical({k: p.detach() for k, p in named.items()}).items())):
        change = (after - before[k]).numpy()
        # The gradient of a key's bias is zero but for rounding, which Adam divides by its own size.
        if case["optimizer"] != "sgd" and k.endswith("in_proj_bias"):
            third = change.shape[0] // 3
            change[third : 2 * third] = 0
        changes[k] = {"norm": float(f"{np.linalg.norm(change.astype(np.float64)):.9e}"), "products": products(change, i)}
    print(f"{case['model']}, {case['method']}, {case['optimizer']}: loss {losses[0]:.4f} to {losses[-1]:.4f}")
    return {**case, "losses": losses, "norms": norms, "ids": ids.tolist(), "changes": changes,
            "classEmbeddings": [float(f"{v:.9g}") for v in frozen.flatten().tolist()]}


def main() -> None:
    torch.set_num_threads(1)
    cases = [run(case, sys.argv[1]) for case in CASES]
    versions = {"torch": torch.__version__, "steps": STEPS, "rows": ROWS, "classes": CLASSES, "products": PRODUCTS}
    path = ROOT / "test" / "goldens" / "finetune.json"
    path.write_text(json.dumps({**versions, "cases": cases}) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
