"""The fields that the config files of the named models' families hold: names and, of short values, those that occur.

    python scripts/goldens/config-fields.py       # writes test/goldens/config-fields.json

open_clip's are those of its model_configs for the architectures of lib/models/catalog/published.ts; transformers' those that its classes
write. Run it in an environment with the versions of requirements.txt."""

import json
import os
import re

import open_clip
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPImageProcessorFast,
    MetaClip2Config,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipImageProcessorFast,
)

# tokenizer_config.json and preprocessor_config.json of openai/clip-vit-*, laion/CLIP-*, google/siglip-*, google/siglip2-*,
# facebook/metaclip-2-*, timm/*-SigLIP: what they hold beyond the classes' own fields.
PUBLISHED = {
    "tokenizer": {
        **{name: True for name in ("unk_token", "bos_token", "eos_token", "pad_token", "cls_token", "sep_token", "mask_token")},
        **{name: 64 for name in ("model_max_length", "extra_ids", "added_tokens_decoder", "additional_special_tokens")},
        **{name: "x" for name in ("tokenizer_class", "processor_class", "name_or_path", "special_tokens_map_file", "tokenizer_file", "errors")},
        **dict(add_prefix_space=False, do_lower_case=True, clean_up_tokenization_spaces=True, add_bos_token=False, add_eos_token=True),
        **dict(padding_side="right", sp_model_kwargs={}, spaces_between_special_tokens=False, use_default_system_prompt=False, legacy=False),
        **dict(model_input_names=["input_ids"], extra_special_tokens={}, tokenize_chinese_chars=True, strip_accents=None, unk_id=None),
    },
    "image processor": dict(feature_extractor_type="CLIPFeatureExtractor", size=224, crop_size=224, image_processor_type="CLIPFeatureExtractor"),
    "processor": dict(processor_class="CLIPProcessor", image_processor={}),
    "transformers text": dict(projection_size=768, dropout=0.0),
    "transformers vision": dict(projection_dim=512, dropout=0.0),
}


def published_architectures():
    source = open("lib/models/catalog/published.ts").read()
    return sorted(set(re.findall(r'^  \["([^/"]+)/', source, re.M)))


def add(table, kind, config):
    for name, value in config.items():
        values = table.setdefault(kind, {}).setdefault(name, [])
        if len(json.dumps(value, default=str)) <= 24 and value not in values:
            values.append(value)


def main():
    table = {}
    folder = os.path.join(os.path.dirname(open_clip.__file__), "model_configs")
    for name in published_architectures():
        config = json.load(open(os.path.join(folder, f"{name}.json")))
        add(table, "open_clip model", config)
        add(table, "open_clip vision", config["vision_cfg"])
        add(table, "open_clip text", config["text_cfg"])
    add(table, "open_clip preprocess", open_clip.transform.PreprocessCfg().__dict__)
    for cls in (CLIPConfig, MetaClip2Config, SiglipConfig):
        config = cls().to_dict()
        add(table, "transformers", config)
        add(table, "transformers text", config["text_config"])
        add(table, "transformers vision", config["vision_config"])
    for cls in (CLIPImageProcessor, SiglipImageProcessor, CLIPImageProcessorFast, SiglipImageProcessorFast):
        add(table, "image processor", cls().to_dict())
    for kind, config in PUBLISHED.items():
        add(table, kind, config)
    # Values matter for the fields alone that are accepted with some of them: short ones, a few of each.
    short = {kind: {name: values[:6] for name, values in sorted(fields.items())} for kind, fields in sorted(table.items())}
    with open("test/goldens/config-fields.json", "w") as f:
        json.dump(short, f, default=str, indent=0)
        f.write("\n")
    print({kind: len(fields) for kind, fields in short.items()})


main()
