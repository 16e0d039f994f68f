"""What transformers, open_clip, sentencepiece and tokenizers make of config files that are not the usual ones.

    python scripts/goldens/configs.py       # writes test/goldens/configs.json; reads test/goldens/families.json

Run it after families.py, in an environment with the versions of requirements.txt (transformers 4.57)."""

import base64
import json
from copy import deepcopy  # transformers changes the dictionaries that it is given
import os
import sys

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, os.path.dirname(__file__))
from families import CLIP, PICTURES, normalised, open_clip_case, pixels, randomise  # noqa: E402
from write import noise, noise_image, sha  # noqa: E402

CLIP_FLOOR = dict(CLIP, crop="floor")

FAMILIES = json.load(open("test/goldens/families.json"))
BPE = FAMILIES["tokenizers"][0]
PIECES = base64.b64decode(next(t for t in FAMILIES["tokenizers"] if isinstance(t, str)))


def processor(config):
    from transformers import CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor

    named = {c.__name__: c for c in (CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor)}
    return named[config["image_processor_type"]](**{k: v for k, v in config.items() if k != "image_processor_type"})


def transforms():
    """Hashes of the uint8 images that processors make."""
    clip, siglip = "CLIPImageProcessor", "SiglipImageProcessor"
    configs = [dict(image_processor_type=clip, size=dict(shortest_edge=64), crop_size=64, resample=r) for r in (1, 2, 3, 4, 5)]
    configs += [dict(image_processor_type=clip, size=72, crop_size=dict(height=64, width=64)), dict(image_processor_type=clip, size=dict(height=71, width=71), crop_size=64)]
    configs += [dict(image_processor_type=siglip, size=dict(height=64, width=64), resample=r) for r in (1, 3, 4)]
    configs += [dict(image_processor_type="ViTImageProcessor", size=dict(height=64, width=64))]
    sizes = [(64, 64), (67, 64), (64, 71), (100, 75), (75, 100), (231, 224), (31, 90), (333, 211), (5, 400), (2, 9)]
    cases = []
    for config in configs:
        for i, (w, h) in enumerate(sizes):
            seed = 4000 + i
            out = processor(dict(config, do_rescale=False, do_normalize=False)).preprocess(Image.fromarray(noise_image(seed, w, h, 3)))["pixel_values"][0]
            cases.append(dict(processor=config, seed=seed, width=w, height=h, channels=3, size=64, sha256=sha(np.ascontiguousarray(np.transpose(out, (1, 2, 0))).astype(np.uint8))))
    return cases


def scalings():
    """The model's input for grey levels 0, 100 and 255, per channel."""
    configs = [{}, dict(do_normalize=False), dict(rescale_factor=1 / 127.5, image_mean=[1, 1, 1], image_std=[1, 1, 1]), dict(do_rescale=False, image_mean=[120.0, 110.0, 100.0], image_std=[60.0, 61.0, 62.0]), dict(image_mean=0.5, image_std=0.25), dict(do_rescale=False, do_normalize=False)]
    result = []
    for c in configs:
        config = dict(c, image_processor_type="CLIPImageProcessor", size=dict(shortest_edge=8), crop_size=8)
        values = [processor(config).preprocess(Image.new("RGB", (8, 8), (v,) * 3))["pixel_values"][0][:, 0, 0].tolist() for v in (0, 100, 255)]
        result.append(dict(processor=config, values=values))
    return result


def case(name, model, config, size, tokens, p=CLIP_FLOOR, edit=None, files=None, tokenizer=0):
    state = randomise(model)
    if edit:
        with torch.no_grad():
            edit(model.state_dict())
    with torch.no_grad():
        image = model.get_image_features(pixel_values=pixels(p, size))
        words = model.get_text_features(input_ids=tokens)
    return dict(name=name, files={"config.json": config, **(files or {})}, shapes=[[k, list(v.shape)] for k, v in state.items()], image=normalised(image), ids=tokens.tolist(), text=normalised(words), tokenizer=tokenizer)


def models():
    from transformers import CLIPConfig, CLIPModel, MetaClip2Config, MetaClip2Model

    tower = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, hidden_act="quick_gelu")
    words = dict(tower, vocab_size=572, max_position_embeddings=12, eos_token_id=571, bos_token_id=570)
    vision = dict(tower, image_size=64, patch_size=32)
    plain = dict(model_type="clip", projection_dim=16, text_config=words, vision_config=vision)
    ids = torch.tensor([[570, 5, 9, 100, 571] + [0] * 7, [570, 7, 571] + [0] * 9, [570, 200, 31, 32, 33, 34, 571] + [0] * 5])

    def clip(name, config, tokens=ids, **options):
        return case(name, CLIPModel(CLIPConfig(**deepcopy(config))).eval(), config, options.pop("size", 64), tokens, **options)

    yield clip("images of 30 pixels, patches of 8", dict(plain, vision_config=dict(vision, image_size=30, patch_size=8)), size=30)
    dicts = dict(text_config_dict=dict(words, hidden_act="gelu"), vision_config_dict=dict(vision, hidden_act="gelu_new", layer_norm_eps=1e-3))
    yield clip("text_config_dict and vision_config_dict win", dict(plain, **dicts))
    yield clip("text_config_dict and vision_config_dict alone", dict(model_type="clip", projection_dim=16, **dicts))
    added = ids.clone()
    added[0, 2], added[2, 1] = 572, 572
    decoder = {"572": dict(content="<my-toy>", lstrip=False, normalized=True, rstrip=False, single_word=False, special=False)}
    yield clip("a token that was added, with a higher id than the end", dict(plain, text_config=dict(words, vocab_size=573)), added, files={"tokenizer_config.json": dict(added_tokens_decoder=decoder)})

    def halves(state):
        for v in state.values():
            if v.dim() > 1 and v.is_floating_point():
                v.copy_((v * 256).round() / 256)  # exact in fp16

    yield clip("matrices in fp16, the rest in fp32", plain, edit=halves)
    meta = dict(model_type="metaclip_2", projection_dim=16, text_config=dict(words, vocab_size=93, eos_token_id=2, bos_token_id=0), vision_config=vision)
    tokens = torch.tensor([[0, 5, 90, 2] + [1] * 8, [0, 2] + [1] * 10, [0, 80, 31, 32, 33, 34, 2, 92] + [1] * 4])
    yield case("MetaCLIP 2: pooled at the first end token, not at the highest id", MetaClip2Model(MetaClip2Config(**deepcopy(meta))).eval(), meta, 64, tokens, tokenizer=1)
    small = dict(image_size=30, layers=1, width=32, patch_size=8, head_width=16)
    made, _ = open_clip_case("open_clip: images of 30 pixels, patches of 8", small, dict(context_length=12, vocab_size=572, width=32, heads=2, layers=1), ids, embed_dim=16)
    yield dict(made, tokenizer=0)


TEXTS = [
    *["a photo of a cat", "x\u0085y", "\ufeffbom first", "a \ufeff b", "a\u0085", "u\u0345 \u0345", "a\u2003b\u180ec", "\x1cfs \x1f", "ΟΔΟΣ Σ"],
    *["snow!<|endoftext|> more", "({<|STARTOFTEXT|>a", "a <|endoftext|> b", "<|startoftext|><|endoftext|>", "<end_of_text> <START_OF_TEXT>b", "!<end_of_text>"],
    *["a <toy> b", "a<toy>b", "A <TOY> b", "x <wide>  y", "x<wide>", "<toy><toybox> <toybo", "one <Raw> two", "one <raw> two", "it's <toy>'s"],
]
ADDED = [
    dict(id=572, content="<toy>", single_word=False, lstrip=False, rstrip=False, normalized=True, special=False),
    dict(id=573, content="<toybox>", single_word=False, lstrip=False, rstrip=False, normalized=True, special=False),
    dict(id=574, content="<wide>", single_word=True, lstrip=True, rstrip=True, normalized=False, special=False),
    dict(id=575, content="<Raw>", single_word=False, lstrip=False, rstrip=True, normalized=False, special=False),
    dict(id=576, content="toy", single_word=True, lstrip=False, rstrip=False, normalized=True, special=False),
]
JOINED = ["👨\u200d👩\u200d👧 family", "a \u200d b", "\u061cright to left mark", "naïve ﬁne ①② Ａ", "क्‍ष", "日本\u3000語 café", "e\u0301e\u0323\u0301", "\u00adsoft\u200bzero", "ｶﾞ ㍿ ½", "\ufeffx\u0085y\u2028z", "tab\tnew\nline", "가각힣", "İstanbul Σ", "\u1e9b\u0323 \u0344"]


def random_texts(count):
    blocks = [0x20, 0x61, 0xA0, 0x100, 0x300, 0x370, 0x5D0, 0x600, 0x900, 0xE00, 0x1100, 0x1E00, 0x2000, 0x2100, 0x3040, 0x4E00, 0xAC00, 0xFB00, 0xFF00, 0x1D400, 0x1F300]
    u = [int(v) for v in noise(5000, 40 * count)]
    texts = []
    for i in range(count):
        part = u[40 * i : 40 * i + 40]
        texts.append("".join(chr(blocks[part[2 * k] % len(blocks)] + part[2 * k + 1] % 94) for k in range(1 + part[39] % 19)))
    return texts


def tokens():
    import sentencepiece
    from open_clip.tokenizer import SimpleTokenizer
    from tokenizers import Tokenizer, normalizers

    data = dict(BPE, added_tokens=[*BPE["added_tokens"], *ADDED], pre_tokenizer=json.loads(json.dumps(BPE["pre_tokenizer"]).replace("<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|", "")))
    texts = TEXTS + random_texts(100)
    fast = Tokenizer.from_str(json.dumps(data))
    simple = SimpleTokenizer()
    sp = sentencepiece.SentencePieceProcessor(model_proto=PIECES)
    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(PIECES)
    charsmap = normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)
    joined = JOINED + random_texts(100)
    return dict(
        transformers=dict(added=ADDED, texts=texts, ids=[fast.encode(t).ids for t in texts]),
        open_clip=dict(texts=texts, ids=[[49406, *simple.encode(t), 49407] for t in texts]),
        sentencepiece=dict(texts=joined, ids=[sp.encode(t) for t in joined]),
        graphemes=dict(texts=joined, normalized=[charsmap.normalize_str(t) for t in joined]),
    )


if __name__ == "__main__":
    result = dict(transforms=transforms(), scalings=scalings(), models=list(models()), tokens=tokens(), images=PICTURES)
    with open("test/goldens/configs.json", "w") as f:
        json.dump(result, f, default=str)
    print(os.path.getsize("test/goldens/configs.json"))
