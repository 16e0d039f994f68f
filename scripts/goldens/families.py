"""Random-weight models of every architecture family from open_clip and transformers, with the embeddings and the pooled
image features that these compute for fixed images and token ids.

  families.py goldens            small models: writes test/goldens/families.json and test/fixtures/models/*
  families.py folder OUT NAME    a model at its published size (open_clip's name of it) with random weights, as a
                                 folder for scripts/parity-table.ts, which imports and compares it

Weights come from the counter-based hash of write.py, so that goldens need no weights in the repository. Run it in an
environment with the versions of requirements.txt."""

import json
import math
import os
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, "scripts/train-tiny")
from write import noise, noise_image, sha  # noqa: E402

PICTURES = [(11, 300, 260), (12, 97, 181)]
TEXTS = ["a photo of a cat", "Two dogs, running in the snow!", "rendered text: it's GREAT"]


def weight(index, name, shape):
    """One parameter of a random model; test/support/random-model.ts has the same."""
    n = int(np.prod(shape)) if len(shape) else 1
    u = noise(3000 + index, n).astype(np.float64) / 2**31 - 1
    last = name.rsplit(".", 1)[-1]
    if last == "logit_scale":
        v = np.full(n, 4.6052)
    elif last == "logit_bias":
        v = np.full(n, -10.0)
    elif last == "gamma" or last.startswith("gamma"):
        v = 0.5 + 0.1 * u
    elif len(shape) <= 1 and last in ("weight", "running_var"):
        v = 1 + 0.1 * u
    elif len(shape) <= 1:
        v = 0.05 * u
    else:
        v = math.sqrt(3 / np.prod(shape[1:])) * u
    return v.astype(np.float32).reshape(shape)


def randomise(model):
    """Sets all weights; returns the state dict without what is no weight."""
    state = {}
    with torch.no_grad():
        for k, p in sorted(model.state_dict().items()):
            if k.endswith(("position_ids", "num_batches_tracked", "attn_mask")) or not p.is_floating_point():
                continue
            state[k] = p
        for i, (k, p) in enumerate(state.items()):
            p.copy_(torch.from_numpy(np.array(weight(i, k, list(p.shape)))))
    return {k: p.clone() for k, p in state.items()}


def transform(image, p, size):
    """A PIL image as open_clip's image_transform prepares it, up to uint8; with crop="floor" as transformers' processors."""
    filter = Image.BICUBIC if p["interpolation"] == "bicubic" else Image.BILINEAR
    if p["resize_mode"] == "squash":
        return np.asarray(image.resize((size, size), filter))
    if p["resize_mode"] == "longest":
        ratio = max(image.size) / size
        w, h = (round(side / ratio) for side in image.size)
        out = Image.new("RGB", (size, size), (p.get("fill_color", 0),) * 3)
        out.paste(image.resize((w, h), filter), ((size - w) // 2, (size - h) // 2))
        return np.asarray(out)
    w, h = image.size
    short, long = (w, h) if w <= h else (h, w)
    new = (size, int(size * long / short)) if w <= h else (int(size * long / short), size)
    image = image.resize(new, filter)
    left, top = ((side - size) // 2 if p.get("crop") == "floor" else int(round((side - size) / 2.0)) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def pixels(p, size):
    x = np.stack([transform(Image.fromarray(noise_image(*c, 3)), p, size) for c in PICTURES])
    x = torch.from_numpy(x).float() / 255
    return ((x - torch.tensor(p["mean"])) / torch.tensor(p["std"])).permute(0, 3, 1, 2)


def normalised(x):
    return (x / x.norm(dim=-1, keepdim=True)).tolist()


CLIP = dict(mean=[0.48145466, 0.4578275, 0.40821073], std=[0.26862954, 0.26130258, 0.27577711], interpolation="bicubic", resize_mode="shortest")
HALF = dict(mean=[0.5] * 3, std=[0.5] * 3, interpolation="bicubic", resize_mode="squash")


def bpe(size=500):
    """A small tokenizer of CLIP's kind."""
    sys.path.insert(0, "scripts/train-tiny")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    t = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(__import__("tokenizers").Regex(r"\s+"), " "), normalizers.Lowercase()])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(__import__("tokenizers").Regex(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size - 2, initial_alphabet=sorted(alphabet), end_of_word_suffix="</w>", show_progress=False)
    t.train_from_iterator(TEXTS * 40 + ["the quick brown fox jumps over the lazy dog"] * 20, trainer)
    data = json.loads(t.to_str())
    vocab = data["model"]["vocab"]
    for letter in alphabet:  # every byte at a word's end, as CLIP has it
        vocab.setdefault(letter + "</w>", len(vocab))
    n = len(vocab)
    vocab["<|startoftext|>"], vocab["<|endoftext|>"] = n, n + 1
    data["added_tokens"] = [dict(id=vocab[c], content=c, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True) for c in ("<|startoftext|>", "<|endoftext|>")]
    data["post_processor"] = dict(type="RobertaProcessing", sep=["<|endoftext|>", n + 1], cls=["<|startoftext|>", n], trim_offsets=False, add_prefix_space=False)
    return data


def sentencepiece_model(path, **options):
    import sentencepiece

    corpus = os.path.join(os.path.dirname(path), "corpus.txt")
    with open(corpus, "w") as f:
        for i in range(400):
            f.write(TEXTS[i % len(TEXTS)].lower() + f" number {i} of the many films we saw, naïve café 日本\n")
    sentencepiece.SentencePieceTrainer.train(input=corpus, model_prefix=path[: -len(".model")], vocab_size=220, model_type="unigram", minloglevel=2, hard_vocab_limit=False, **options)
    os.remove(corpus)


def pad(rows, length, fill):
    return torch.tensor([r[:length] + [fill] * (length - len(r)) for r in rows])


def small_open_clip(name, vision, text, preprocess=CLIP, quick_gelu=False, custom_text=False, embed_dim=48, **more):
    """An open_clip model of a small config."""
    import open_clip
    from open_clip.model import CustomTextCLIP

    cfg = dict(embed_dim=embed_dim, quick_gelu=quick_gelu, vision_cfg=vision, text_cfg=text, **more)
    cls = open_clip.CLIP
    if "multimodal_cfg" in cfg:
        cls = open_clip.CoCa
    elif custom_text:
        cls = CustomTextCLIP
    model = cls(**{k: v for k, v in cfg.items()}).eval()
    return model, dict(model_cfg=dict(cfg, custom_text=custom_text), preprocess_cfg=preprocess)


def pooled_of(visual, x):
    """What an image encoder of open_clip projects to the embedding."""
    if hasattr(visual, "trunk"):  # timm
        return visual.trunk.forward_head(visual.trunk.forward_features(x), pre_logits=True)
    if hasattr(visual, "attnpool"):  # ModifiedResNet: c_proj is the projection
        projection, width = visual.attnpool.c_proj, visual.attnpool.c_proj.in_features
        visual.attnpool.c_proj = torch.nn.Linear(width, width)
        torch.nn.init.eye_(visual.attnpool.c_proj.weight)
        torch.nn.init.zeros_(visual.attnpool.c_proj.bias)
        pooled = visual(x)
        visual.attnpool.c_proj = projection
        return pooled
    projection, visual.proj = visual.proj, None
    pooled = visual(x)
    visual.proj = projection
    return pooled[0] if isinstance(pooled, tuple) else pooled  # CoCa gives its tokens too


def open_clip_case(name, vision, text, tokens, **options):
    model, config = small_open_clip(name, vision, text, **options)
    state = randomise(model)
    size = vision["image_size"]
    with torch.no_grad():
        image = model.encode_image(pixels(config["preprocess_cfg"], size))
        pooled = pooled_of(model.visual, pixels(config["preprocess_cfg"], size))
        words = model.encode_text(tokens)
    return dict(name=name, files={"open_clip_config.json": config}, shapes=[[k, list(p.shape)] for k, p in state.items()], image=normalised(image), pooled=pooled.tolist(), ids=tokens.tolist(), text=normalised(words)), state


def hf_case(name, model, config, preprocessor, tokens, pool):
    state = randomise(model)
    p = dict(mean=preprocessor["image_mean"], std=preprocessor["image_std"], interpolation="bicubic", crop="floor", resize_mode="squash" if "height" in preprocessor["size"] else "shortest")
    with torch.no_grad():
        image = model.get_image_features(pixel_values=pixels(p, config["vision_config"]["image_size"]))
        image = getattr(image, "pooler_output", image)
        pooled = model.vision_model(pixel_values=pixels(p, config["vision_config"]["image_size"])).pooler_output
        words = pool(model, tokens)
    return dict(name=name, files={"config.json": config, "preprocessor_config.json": preprocessor}, shapes=[[k, list(v.shape)] for k, v in state.items()], image=normalised(image), pooled=pooled.tolist(), ids=tokens.tolist(), text=normalised(words)), state


def small_cases():
    from tokenizers import Tokenizer

    clip_json = bpe()
    vocab = len(clip_json["model"]["vocab"])
    clip = Tokenizer.from_str(json.dumps(clip_json))
    ids = [e.ids for e in clip.encode_batch(TEXTS)]
    with tempfile.TemporaryDirectory() as folder:
        spm = os.path.join(folder, "spiece.model")
        sentencepiece_model(spm, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
        pieces = open(spm, "rb").read()
    import sentencepiece

    sp = sentencepiece.SentencePieceProcessor(model_proto=pieces)
    import string

    canonical = lambda t: " ".join(t.replace("_", " ").translate(str.maketrans("", "", string.punctuation)).lower().split())  # noqa: E731
    siglip_ids = [sp.encode(canonical(t)) + [1] for t in TEXTS]
    text = dict(context_length=24, vocab_size=vocab, width=64, heads=2, layers=2)
    ids77 = pad(ids, 24, 0)
    vit = dict(image_size=64, layers=2, width=64, patch_size=16, head_width=32)
    siglip_text = dict(context_length=32, vocab_size=sp.vocab_size(), width=64, heads=2, layers=2, no_causal_mask=True, proj_bias=True, pool_type="last", norm_kwargs=dict(eps=1e-6), tokenizer_kwargs=dict(clean="canonicalize"))
    yield open_clip_case("open_clip ViT, GELU", vit, text, ids77), clip_json
    yield open_clip_case("open_clip ViT, QuickGELU, layer scale", dict(vit, ls_init_value=0.1), dict(text, ls_init_value=0.1), ids77, quick_gelu=True), clip_json
    yield open_clip_case("open_clip ViT, longest side and fill, bilinear", vit, text, ids77, preprocess=dict(CLIP, interpolation="bilinear", resize_mode="longest")), clip_json
    yield open_clip_case("ResNet", dict(image_size=64, layers=[1, 2, 1, 1], width=16, head_width=64), text, ids77, quick_gelu=True), clip_json
    clipa = dict(vit, no_ln_pre=True, pool_type="avg", final_ln_after_pool=True)
    yield open_clip_case("CLIPA", clipa, dict(text, no_causal_mask=True, pool_type="last"), ids77, preprocess=dict(HALF, interpolation="bilinear")), clip_json
    coca = dict(vit, attentional_pool=True, attn_pooler_heads=4, output_tokens=True)
    mm = dict(context_length=23, vocab_size=vocab, width=64, heads=2, layers=1, attn_pooler_heads=4)
    yield open_clip_case("CoCa", coca, dict(text, context_length=23, embed_cls=True, output_tokens=True), pad(ids, 23, 0), multimodal_cfg=mm, custom_text=True), clip_json
    import timm.models.eva as eva
    import timm.models.convnext as convnext
    import timm.models.fastvit as fastvit
    import timm.models.vision_transformer as vision
    from timm.models import register_model

    def small(name, base, **args):
        """timm's entry point of that name, with small sizes."""
        def make(pretrained=False, **kwargs):
            kwargs.pop("pretrained_cfg", None), kwargs.pop("pretrained_cfg_overlay", None), kwargs.pop("cache_dir", None)
            model = base(**dict(args, **kwargs))
            model.default_cfg = {}
            return model
        make.__name__ = name
        make.__module__ = "timm.models.vision_transformer"
        register_model(make)
        return name

    timm_vision = lambda name, pool, size=64, proj=None: dict(image_size=size, timm_model_name=name, timm_model_pretrained=False, timm_pool=pool, timm_proj=proj)  # noqa: E731
    from functools import partial

    ln = partial(torch.nn.LayerNorm, eps=1e-6)
    small("vit_small_siglip_test", vision.VisionTransformer, img_size=64, patch_size=16, embed_dim=64, depth=2, num_heads=1, class_token=False, global_pool="map", norm_layer=ln)
    yield open_clip_case("SigLIP (timm)", timm_vision("vit_small_siglip_test", "map", proj="none"), siglip_text, pad(siglip_ids, 32, 1), preprocess=HALF, custom_text=True, embed_dim=64, init_logit_bias=-10), pieces
    small("vit_clip_test", vision.VisionTransformer, img_size=64, patch_size=16, embed_dim=64, depth=2, num_heads=1, pre_norm=True, norm_layer=partial(torch.nn.LayerNorm, eps=1e-5))
    yield open_clip_case("MobileCLIP2-L (timm ViT with a class token)", timm_vision("vit_clip_test", "token"), dict(text, no_causal_mask=True), ids77, custom_text=True), clip_json

    def mci(**kwargs):
        from timm.models.vision_transformer_hybrid import ConvStem, HybridEmbed

        stem = ConvStem(channels=(16, 16, 64), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=torch.nn.GELU)
        return vision.VisionTransformer(img_size=64, patch_size=1, embed_dim=64, depth=2, num_heads=1, no_embed_class=True, embed_layer=partial(HybridEmbed, backbone=stem, proj=False), **kwargs)

    small("vit_mci_test", mci)
    yield open_clip_case("MobileCLIP-B (convolutional stem)", timm_vision("vit_mci_test", "token"), text, ids77, custom_text=True), clip_json
    small("eva02_test", eva.Eva, img_size=64, patch_size=16, embed_dim=128, depth=2, num_heads=2, qkv_fused=False, mlp_ratio=4 * 2 / 3, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True, use_rot_pos_emb=True, ref_feat_shape=(16, 16), global_pool="token")
    yield open_clip_case("EVA02", timm_vision("eva02_test", "token"), text, ids77, custom_text=True), clip_json
    small("eva_enormous_test", eva.Eva, img_size=64, patch_size=16, embed_dim=128, depth=2, num_heads=16, use_post_norm=True, global_pool="token")
    yield open_clip_case("EVA02-E (norms after)", timm_vision("eva_enormous_test", "token"), text, ids77, custom_text=True), clip_json
    small("convnext_test", convnext.ConvNeXt, depths=(1, 1, 2, 1), dims=(16, 32, 64, 128))
    yield open_clip_case("ConvNeXt, linear head", timm_vision("convnext_test", "", proj="linear"), text, ids77), clip_json
    yield open_clip_case("ConvNeXt, MLP head", timm_vision("convnext_test", "", proj="mlp"), text, ids77), clip_json
    cpe = partial(fastvit.RepConditionalPosEnc, spatial_shape=(7, 7))
    small("fastvit_test", fastvit.FastVit, layers=(1, 1, 2, 1), embed_dims=(16, 32, 64, 128), mlp_ratios=(3, 3, 3, 3), se_downsamples=(False, False, True, True), pos_embs=(None, None, None, cpe), token_mixers=("repmixer", "repmixer", "repmixer", "attention"), lkc_use_act=True)
    unit = dict(CLIP, mean=[0.0] * 3, std=[1.0] * 3, interpolation="bilinear")
    yield open_clip_case("MobileCLIP (FastViT, batch norm)", timm_vision("fastvit_test", "avg", size=128), dict(text, no_causal_mask=True), ids77, preprocess=unit, custom_text=True), clip_json
    from timm.layers import LayerNorm2d

    small("fastvit_l_test", fastvit.FastVit, layers=(1, 1, 1, 1, 1), embed_dims=(16, 32, 64, 128, 256), mlp_ratios=(4,) * 5, se_downsamples=(False,) * 5, downsamples=(False, True, True, True, True), pos_embs=(None, None, None, cpe, cpe), token_mixers=("repmixer", "repmixer", "repmixer", "attention", "attention"), lkc_use_act=True, norm_layer=partial(LayerNorm2d, eps=1e-5), stem_use_scale_branch=False)
    yield open_clip_case("MobileCLIP2 (FastViT, layer norm)", timm_vision("fastvit_l_test", "avg", size=128), dict(text, no_causal_mask=True), ids77, custom_text=True), clip_json

    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel

    v = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16)
    t = dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    c = CLIPConfig(vision_config=v, text_config=dict(t, vocab_size=vocab, max_position_embeddings=24, eos_token_id=vocab - 1), projection_dim=48)
    processor = dict(size=dict(shortest_edge=64), image_mean=CLIP["mean"], image_std=CLIP["std"], do_center_crop=True, resample=3)

    def clip_pool(m, tokens):
        hidden = m.text_model(input_ids=tokens).last_hidden_state
        return m.text_projection(hidden[torch.arange(len(tokens)), tokens.argmax(-1)])

    yield hf_case("transformers CLIP", CLIPModel(c).eval(), c.to_dict(), processor, ids77, clip_pool), clip_json
    narrow = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1)
    n = CLIPConfig(vision_config=dict(v, **narrow, patch_size=32), text_config=dict(narrow, vocab_size=vocab, max_position_embeddings=24, eos_token_id=vocab - 1), projection_dim=16)
    yield hf_case("transformers CLIP, narrow", CLIPModel(n).eval(), n.to_dict(), processor, ids77, clip_pool), clip_json
    c = SiglipConfig(vision_config=v, text_config=dict(t, vocab_size=sp.vocab_size(), max_position_embeddings=32, projection_size=64, pad_token_id=0))
    processor = dict(size=dict(height=64, width=64), image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=3)

    def siglip_pool(m, tokens):
        out = m.get_text_features(input_ids=tokens)
        return getattr(out, "pooler_output", out)

    yield hf_case("transformers SigLIP", SiglipModel(c).eval(), c.to_dict(), processor, pad(siglip_ids, 32, 0), siglip_pool), pieces
    yield roberta_case(vit, sp), None


def roberta_case(vit, sp):
    """XLM-R as open_clip's text encoder. Its ids are given: the text side is compared on them."""
    import open_clip.hf_model
    from open_clip.model import CustomTextCLIP
    from transformers import XLMRobertaConfig

    config = XLMRobertaConfig(vocab_size=220, hidden_size=64, num_hidden_layers=2, num_attention_heads=1, intermediate_size=128, max_position_embeddings=40, type_vocab_size=1, layer_norm_eps=1e-5)
    original = open_clip.hf_model.AutoConfig.from_pretrained
    open_clip.hf_model.AutoConfig.from_pretrained = lambda *a, **k: config
    text = dict(hf_model_name="xlm-roberta-test", hf_tokenizer_name="xlm-roberta-test", hf_pooler_type="mean_pooler", hf_model_pretrained=False, hf_proj_type="mlp", context_length=24)
    try:
        model = CustomTextCLIP(embed_dim=48, vision_cfg=vit, text_cfg={k: v for k, v in text.items()}).eval()
    finally:
        open_clip.hf_model.AutoConfig.from_pretrained = original
    state = randomise(model)
    tokens = torch.tensor([[0, 5, 9, 100, 2] + [1] * 19, [0, 7, 2] + [1] * 21, [0, 200, 31, 32, 33, 34, 2] + [1] * 17])
    with torch.no_grad():
        image, words = model.encode_image(pixels(CLIP, 64)), model.encode_text(tokens)
        pooled = pooled_of(model.visual, pixels(CLIP, 64))
    files = {"open_clip_config.json": dict(model_cfg=dict(embed_dim=48, vision_cfg=vit, text_cfg=text), preprocess_cfg=CLIP)}
    return dict(name="XLM-R text", files=files, shapes=[[k, list(p.shape)] for k, p in state.items()], image=normalised(image), pooled=pooled.tolist(), ids=tokens.tolist(), text=normalised(words)), state


def transforms(count=90):
    """Every way of resizing, over random sizes: hashes of what Pillow makes."""
    rng = np.random.default_rng(7)
    sizes = [(1, 1), (1, 9), (9, 1), (3, 700), (700, 3), (64, 64), (1200, 90)]
    cases = []
    for i in range(count):
        w, h = sizes[i] if i < len(sizes) else (int(rng.integers(1, 600)), int(rng.integers(1, 600)))
        p = dict(resize_mode=("squash", "longest", "shortest")[i % 3], interpolation=("bicubic", "bilinear")[i // 3 % 2], fill_color=(0, 128)[i // 6 % 2])
        size = (64, 224, 97)[i // 12 % 3]
        if p["resize_mode"] == "longest" and min(w, h) * size < max(w, h):
            w, h = max(w, h), max(w, h) // 2 + 1  # Pillow refuses a side of 0
        out = transform(Image.fromarray(noise_image(900 + i, w, h, 3)), p, size)
        cases.append(dict(seed=900 + i, width=w, height=h, channels=3, size=size, resize=p["resize_mode"], interpolation=p["interpolation"], fill=p["fill_color"], sha256=sha(out)))
    return cases


def goldens():
    import base64

    with open("test/goldens/transforms.json", "w") as f:
        json.dump(transforms(), f)

    cases, tokenizers = [], []
    os.makedirs("test/fixtures/models", exist_ok=True)
    for (case, state), tokenizer in small_cases():
        encoded = base64.b64encode(tokenizer).decode() if isinstance(tokenizer, bytes) else tokenizer
        if encoded not in tokenizers:
            tokenizers.append(encoded)
        case["tokenizer"] = tokenizers.index(encoded)
        cases.append(case)
        print(case["name"], sum(p.numel() for p in state.values()), flush=True)
        if case["name"] == "transformers CLIP, narrow":
            formats(case, state)
    with open("test/goldens/families.json", "w") as f:
        json.dump(dict(texts=TEXTS, images=PICTURES, tokenizers=tokenizers, cases=cases), f, default=str)
    print("families.json", os.path.getsize("test/goldens/families.json"))


def formats(case, state):
    """The same weights in every other format: zip and legacy pickles, half precision, sharded, ONNX."""
    folder = "test/fixtures/models"
    torch.save(state, f"{folder}/zip.bin")
    torch.save({"state_dict": {"module." + k: v for k, v in state.items()}, "epoch": 3, "name": "x"}, f"{folder}/legacy.bin", _use_new_zipfile_serialization=False)
    column = {k: (v.t().contiguous().t() if v.dim() == 2 else v) for k, v in state.items()}
    torch.save(column, f"{folder}/columns.bin")
    onnx_file(case, state, f"{folder}/model.onnx")


def onnx_file(case, state, path):
    """As the exporter writes it: Linear weights transposed and without their names, found again by their nodes."""
    import onnx
    from onnx import helper, numpy_helper

    initializers, nodes = [], []
    number = 100
    for k, v in state.items():
        a = v.numpy()
        if v.dim() == 2 and k.endswith(".weight") and "embedding" not in k:
            owner = "/" + "/".join(k[: -len(".weight")].replace("layers.", "layers#").split(".")).replace("#", ".")
            name = f"onnx::MatMul_{number}"
            number += 1
            nodes.append(helper.make_node("MatMul", ["x", name], ["y"], name=owner + "/MatMul"))
            a = np.ascontiguousarray(a.T)
            k = name
        initializers.append(numpy_helper.from_array(a, k))
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [None])], [helper.make_tensor_value_info("y", 1, [None])], initializers)
    onnx.save(helper.make_model(graph), path)


def real_size(name):
    """open_clip's model of that name, with random weights; text towers of transformers by their published sizes."""
    import open_clip
    import open_clip.hf_model
    from transformers import XLMRobertaConfig

    sizes = {"xlm-roberta-base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
             "xlm-roberta-large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096)}
    common = dict(vocab_size=250002, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5, bos_token_id=0, pad_token_id=1, eos_token_id=2)
    open_clip.hf_model.AutoConfig.from_pretrained = lambda model, **_: XLMRobertaConfig(**sizes[model], **common)
    config = open_clip.get_model_config(name)
    if "hf_model_name" in config["text_cfg"]:
        config["text_cfg"]["hf_model_pretrained"] = False
    torch.manual_seed(0)
    custom = config.pop("custom_text", False) or "multimodal_cfg" in config or "hf_model_name" in config["text_cfg"]
    custom = custom or "timm_model_name" in config["vision_cfg"] and not name.startswith("convnext")
    model = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    if "quickgelu" in name:
        config["quick_gelu"] = True
    config["vision_cfg"].pop("timm_model_pretrained", None)
    model = model(**config).eval()
    with torch.no_grad():  # by the rules of `weight`: the libraries' own first weights leave much of a model without effect
        for key, p in model.state_dict().items():
            last = key.rsplit(".", 1)[-1]
            if not p.is_floating_point() or key.endswith("attn_mask") or last in ("logit_scale", "logit_bias"):
                continue
            if last.startswith("gamma"):
                p.uniform_(0.4, 0.6)
            elif p.dim() <= 1:
                low, high = (0.9, 1.1) if last in ("weight", "running_var") else (-0.05, 0.05)
                p.uniform_(low, high)
            else:
                bound = math.sqrt(3 / p[0].numel())
                p.uniform_(-bound, bound)
    return model, config


def folder(out, name):
    model, config = real_size(name)
    preprocess = dict(CLIP)
    for key in ("image_mean", "image_std", "interpolation", "resize_mode"):
        if (value := config["vision_cfg"].get(key)) is not None:
            preprocess[key.removeprefix("image_")] = value
    if "SigLIP" in name:
        preprocess = dict(HALF)
    size, text = config["vision_cfg"]["image_size"], config["text_cfg"]
    rng = np.random.default_rng(5)
    length = text.get("context_length", 77)
    vocab = text.get("vocab_size", 250002)
    rows = []
    for n in (3, 11, length - 2):
        body = rng.integers(300, vocab - 10, n).tolist()
        if "hf_model_name" in text:
            rows.append([0, *body, 2] + [1] * (length - n - 2))
        elif text.get("no_causal_mask") and text.get("pool_type") == "last":
            rows.append([*body, 1] + [1] * (length - n - 1))
        else:
            rows.append([vocab - 2, *body, vocab - 1] + [0] * (length - n - 2))
    tokens = torch.tensor(rows)
    with torch.no_grad():
        image, words = model.encode_image(pixels(preprocess, size)), model.encode_text(tokens)
    os.makedirs(out, exist_ok=True)
    state = {k: v.contiguous() for k, v in model.state_dict().items() if v.is_floating_point() and not k.endswith("attn_mask")}
    parameters = sum(p.numel() for p in model.parameters())
    save_file(state, f"{out}/model.safetensors")
    json.dump(dict(model_cfg=config, preprocess_cfg=preprocess), open(f"{out}/open_clip_config.json", "w"))
    json.dump(dict(name=name, parameters=parameters, image=normalised(image), ids=tokens.tolist(), text=normalised(words)), open(f"{out}/reference.json", "w"))
    print(name, parameters, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["goldens"]:
        goldens()
    elif sys.argv[1:2] == ["folder"]:
        folder(*sys.argv[2:4])
    else:
        sys.exit(__doc__)
