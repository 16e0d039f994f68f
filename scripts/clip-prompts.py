"""Writes lib/datasets/clip-sets/prompts.ts: class names and prompt templates as OpenAI used them.

    python scripts/clip-prompts.py prompts.md CLIP_benchmark
    npx prettier --write lib/datasets/clip-sets/prompts.ts

prompts.md is data/prompts.md of github.com/openai/CLIP, CLIP_benchmark a checkout of github.com/LAION-AI/CLIP_benchmark
(names and templates that OpenAI did not publish, the order of VTAB's classes, the WordNet ids of ImageNet-A, -R and -O).
ImageNet's names and templates are those that open_clip ships (open_clip.zero_shot_metadata, from OpenAI's notebook), its
WordNet ids timm's (timm/data/_info/imagenet_synsets.txt).
"""

import importlib.resources
import json
import os
import re
import sys

from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES, OPENAI_IMAGENET_TEMPLATES

SECTIONS = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "country211": "Country211",
    "dtd": "DescribableTextures",
    "eurosat": "EuroSAT",
    "flowers102": "Flowers102",
    "food101": "Food101",
    "mnist": "MNIST",
    "oxford-pets": "OxfordPets",
    "stl10": "STL10",
    "caltech101": "Caltech101",
    "clevr-counts": "CLEVRCounts",
    "fgvc-aircraft": "FGVCAircraft",
    "gtsrb": "GTSRB",
    "kitti-distance": "KITTI",
    "pcam": "PatchCamelyon",
    "resisc45": "RESISC45",
    "stanford-cars": "StanfordCars",
    "sun397": "SUN397",
    "voc2007": "PascalVOC2007",
}

# Sets of which OpenAI published no prompts, and their names in CLIP_benchmark.
CLIP_BENCHMARK = {"clevr-distance": "clevr_closest_object_distance", "svhn": "svhn"}

# The folders of 101_ObjectCategories in the order of VTAB, which does not tell upper from lower case.
CALTECH_FOLDERS = """accordion airplanes anchor ant BACKGROUND_Google barrel bass beaver binocular bonsai brain brontosaurus
buddha butterfly camera cannon car_side ceiling_fan cellphone chair chandelier cougar_body cougar_face crab crayfish
crocodile crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu euphonium ewer Faces
Faces_easy ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill headphone hedgehog helicopter ibis
inline_skate joshua_tree kangaroo ketch lamp laptop Leopards llama lobster lotus mandolin mayfly menorah metronome minaret
Motorbikes nautilus octopus okapi pagoda panda pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner
scissors scorpion sea_horse snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick trilobite
umbrella watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang""".split()


def openai_sections(text):
    sets = {}
    for name, section in SECTIONS.items():
        body = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.S | re.M).group(1)
        scope = {}
        exec(re.search(r"```bash\n(.*?)```", body, re.S).group(1), scope)  # two Python lists
        sets[name] = {"classes": scope["classes"], "templates": scope["templates"], "source": f"openai/CLIP, data/prompts.md, section {section}"}
    return sets


def in_order_of_labels(sets, names):
    """Classes in the order of each set's labels, where OpenAI lists them in another."""
    caltech = sets["caltech101"]
    assert sorted(caltech["classes"]) == sorted(names["caltech101_vtab"])
    assert len(CALTECH_FOLDERS) == len(caltech["classes"])
    caltech.update(classes=names["caltech101_vtab"], folders=CALTECH_FOLDERS)
    sets["clevr-counts"]["classes"].sort(key=int)
    sets["voc2007"]["classes"].sort()


def clip_benchmark_sets(names, templates):
    return {
        name: {
            "classes": names[key],
            "templates": [template.replace("{c}", "{}") for template in templates[key]],
            "source": f"LAION-AI/CLIP_benchmark, clip_benchmark/datasets, {key}",
        }
        for name, key in CLIP_BENCHMARK.items()
    }


def imagenet_subsets(builder):
    ids = {}
    for letter in "aor":
        found = re.search(rf"imagenet_{letter}_wnids = [\[{{](.*?)[\]}}]", builder, re.S).group(1)
        ids[f"imagenet-{letter}"] = sorted(re.findall(r"n\d{8}", found))
        assert len(ids[f"imagenet-{letter}"]) == 200
    return ids


def main():
    prompts, checkout = sys.argv[1:]
    folder = os.path.join(checkout, "clip_benchmark", "datasets")
    read = lambda path: open(path, encoding="utf-8").read()
    names = json.loads(read(os.path.join(folder, "en_classnames.json")))
    templates = json.loads(read(os.path.join(folder, "en_zeroshot_classification_templates.json")))
    sets = openai_sections(read(prompts))
    in_order_of_labels(sets, names)
    sets.update(clip_benchmark_sets(names, templates))
    synsets = importlib.resources.files("timm.data._info").joinpath("imagenet_synsets.txt").read_text().split()
    sets["imagenet"] = {
        "classes": IMAGENET_CLASSNAMES,
        "templates": [t("{}") for t in OPENAI_IMAGENET_TEMPLATES],
        "source": "openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb, as in open_clip.zero_shot_metadata",
        "folders": synsets,
    }
    subsets = imagenet_subsets(read(os.path.join(folder, "builder.py")))
    with open("lib/datasets/clip-sets/prompts.ts", "w", encoding="utf-8") as out:
        out.write("// Generated by scripts/clip-prompts.py.\n// Class names and templates of CLIP's evaluations, each with its source.\n\n")
        out.write("export interface ClipPrompts {\n  classes: string[];\n  templates: string[];\n  source: string;\n  /** The data set's own folder of each class, where it is another name. */\n  folders?: string[];\n}\n\n")
        out.write(f"export const CLIP_PROMPTS = {json.dumps(sets, ensure_ascii=False, indent=1)} satisfies Record<string, ClipPrompts>;\n\n")
        out.write("export type ClipSetName = keyof typeof CLIP_PROMPTS;\n\n")
        out.write("/** WordNet ids of the classes of ImageNet that a set has (LAION-AI/CLIP_benchmark, datasets/builder.py). */\n")
        out.write(f"export const IMAGENET_SUBSETS = {json.dumps(subsets, indent=1)};\n")


main()
