"""Writes test/goldens/retrieval.json and test/goldens/evaluation.json: retrieval by the code of CLIP_benchmark, open_clip_train,
scikit-learn and torchmetrics; metrics by scikit-learn, CLIP_benchmark, torchmetrics, statsmodels and SciPy.

    python scripts/goldens/evaluation.py CLIP_benchmark open_clip

CLIP_benchmark and open_clip are checkouts of github.com/LAION-AI/CLIP_benchmark and github.com/mlfoundations/open_clip.
Besides requirements.txt it needs (pip install --no-deps): torchmetrics==1.9.0 lightning-utilities==0.15.3
statsmodels==0.15.0 patsy==1.0.3 pandas==3.1.1.
"""

import importlib.util
import json
import os
import sys
import warnings

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn import metrics as sk
from statsmodels.stats.contingency_tables import mcnemar
from torchmetrics.functional.retrieval import retrieval_normalized_dcg

RECALL_AT = (1, 5, 10)


def module_of(checkout, path):
    """A file of a checkout as a module, without its package."""
    spec = importlib.util.spec_from_file_location(os.path.basename(path)[:-3], os.path.join(checkout, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def any_positive(benchmark, scores, positive):
    """CLIP_benchmark's recall, whose hits are averaged in double precision, and nDCG@10. One query a row."""
    found = {}
    for k in RECALL_AT:
        recall = benchmark.batchify(benchmark.recall_at_k, scores, positive, 7, "cpu", k=k)
        found[str(k)] = (recall > 0).double().mean().item()
    gain = sk.ndcg_score(positive.numpy(), scores.double().numpy(), k=10)
    other = np.mean([retrieval_normalized_dcg(s, p, top_k=10).item() for s, p in zip(scores, positive, strict=True)])
    assert abs(gain - other) < 1e-6, (gain, other)
    found["ndcg10"] = gain
    return found


def one_caption(training, images, captions):
    """open_clip_train's metrics of pairs."""
    metrics = training.get_clip_metrics(images, captions, 1.0)
    return {
        ours: {
            **{str(k): float(metrics[f"{theirs}_R@{k}"]) for k in RECALL_AT},
            "median": float(metrics[f"{theirs}_median_rank"]),
            "mean": float(metrics[f"{theirs}_mean_rank"]),
        }
        for ours, theirs in (("imageToText", "image_to_text"), ("textToImage", "text_to_image"))
    }


def retrieval_cases(benchmark, training):
    rng = np.random.default_rng(17)
    cases = []
    for images, most, dim, tied in ((12, 1, 8, False), (25, 5, 6, False), (40, 3, 8, False), (40, 1, 3, True), (30, 4, 4, True)):
        counts = rng.integers(1, most + 1, images)
        image_of = np.repeat(np.arange(images), counts)
        order = rng.permutation(len(image_of))  # the captions of an image need not stand together
        image_of = image_of[order]
        if tied:  # small whole numbers, whose products are exact and often equal
            rows = rng.integers(-1, 2, (images, dim)).astype(np.float32)
            texts = rng.integers(-1, 2, (len(image_of), dim)).astype(np.float32)
        else:
            rows = rng.standard_normal((images, dim)).round(3).astype(np.float32)
            texts = (rows[image_of] + 1.2 * rng.standard_normal((len(image_of), dim))).round(3).astype(np.float32)
        image_rows, text_rows = torch.from_numpy(rows), torch.from_numpy(texts)
        first = torch.tensor([int(np.flatnonzero(image_of == image)[0]) for image in range(images)])
        case = dict(images=rows.tolist(), captions=texts.tolist(), imageOf=image_of.tolist(), oneCaption=one_caption(training, image_rows, text_rows[first]))
        if not tied:
            scores = text_rows @ image_rows.t()
            positive = torch.zeros_like(scores, dtype=torch.bool)
            positive[torch.arange(len(scores)), torch.from_numpy(image_of)] = True
            case["anyPositive"] = dict(imageToText=any_positive(benchmark, scores.t().contiguous(), positive.t().contiguous()), textToImage=any_positive(benchmark, scores, positive))
        # The numbers as written: three decimals, not their float32 neighbours.
        case["images"], case["captions"] = np.round(rows.astype(float), 3).tolist(), np.round(texts.astype(float), 3).tolist()
        cases.append(case)
    return cases


def macro_f1_cases():
    rng = np.random.default_rng(18)
    cases = []
    for classes, n, true_in, predicted_in in ((4, 40, (0, 4), (0, 4)), (6, 50, (0, 4), (1, 5)), (9, 30, (2, 5), (0, 9))):
        truth, predicted = rng.integers(*true_in, n), rng.integers(*predicted_in, n)
        scores = {over: sk.f1_score(truth, predicted, average="macro", labels=labels, zero_division=0) for over, labels in (("occurring", None), ("true", np.unique(truth)), ("all", range(classes)))}
        cases.append(dict(classes=classes, truth=truth.tolist(), predicted=predicted.tolist(), **scores))
    return cases


def eleven_point(truth, scores):
    precision, recall, _ = sk.precision_recall_curve(truth, scores)
    reached = [precision[:-1][recall[:-1] >= tenths / 10] for tenths in range(11)]  # without the added last point
    return float(np.mean([part.max() if len(part) else 0 for part in reached]))


def multi_label_cases(classification):
    rng = np.random.default_rng(19)
    cases = []
    for n, classes, digits in ((30, 4, 6), (60, 5, 2), (25, 6, 1)):
        targets = (rng.random((n, classes)) < 0.3).astype(int)
        if classes == 6:
            targets[:, 2] = 0
        scores = (rng.random((n, classes)) + 0.4 * targets).round(digits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class without positives
            per_class = sk.average_precision_score(targets, scores, average=None)
        present = targets.any(axis=0)
        if digits == 6:  # CLIP_benchmark orders equal scores as it likes
            theirs = classification.average_precision_per_class(torch.from_numpy(scores), torch.from_numpy(targets))
            assert np.allclose(theirs.numpy(), per_class, atol=1e-6)
        points = [eleven_point(targets[:, c], scores[:, c]) if present[c] else 0 for c in range(classes)]
        cases.append(dict(classes=classes, scores=scores.flatten().tolist(), targets=targets.flatten().tolist(), perClass=[float(x) for x in per_class], elevenPoint=points))
    return cases


def jaccard_cases():
    rng = np.random.default_rng(20)
    items = []
    for candidates in (5, 5, 6, 10, 10, 12, 12):
        scores = rng.random(candidates).round(4)
        answers = np.sort(rng.choice(candidates, rng.integers(2, 5), replace=False))
        truth = np.isin(np.arange(candidates), answers)
        chosen = np.isin(np.arange(candidates), np.argsort(scores)[-len(answers):])  # as DataComp's wino_eval.py
        items.append(dict(scores=scores.tolist(), answers=answers.tolist(), score=float(sk.jaccard_score(truth, chosen))))
    return items


def group_cases():
    rng = np.random.default_rng(21)
    groups = rng.choice(["Africa", "Americas", "Asia", "Europe"], 80, p=[0.1, 0.2, 0.3, 0.4])
    truth, predicted = rng.integers(0, 3, 80), rng.integers(0, 3, 80)
    accuracies = {str(g): float(sk.accuracy_score(truth[groups == g], predicted[groups == g])) for g in np.unique(groups)}
    return dict(groups=groups.tolist(), hits=(truth == predicted).tolist(), accuracies=accuracies)


def mcnemar_cases():
    cases = []
    for b, c in ((0, 0), (4, 12), (12, 4), (5, 5), (0, 7), (3, 900), (103, 158), (2400, 2600), (20000, 21000)):
        p = float(mcnemar([[50, b], [c, 50]], exact=True).pvalue)
        if b + c > 0:
            assert np.isclose(p, binomtest(b, b + c).pvalue, rtol=1e-9), (b, c)
        cases.append(dict(b=b, c=c, p=p))
    return cases


class FakeClip(torch.nn.Module):
    """What torchmetrics asks of a CLIP; the "images" are embeddings, a "caption" is the number of a row."""

    def __init__(self, captions):
        super().__init__()
        self.rows = captions
        self.config = type("Config", (), {"text_config": type("Text", (), {"max_position_embeddings": 77})})

    def get_image_features(self, pixel_values):
        return pixel_values.reshape(len(pixel_values), -1)

    def get_text_features(self, input_ids, attention_mask):
        return self.rows[input_ids[:, 0]]


class FakeProcessor:
    def __call__(self, text=None, images=None, return_tensors=None, padding=None):
        inputs = {}
        if text is not None:
            inputs["input_ids"] = torch.tensor([[int(row)] for row in text])
            inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if images is not None:
            inputs["pixel_values"] = torch.stack(list(images))
        return inputs


def clip_score_case():
    from torchmetrics.functional.multimodal.clip_score import _clip_score_update

    rng = np.random.default_rng(22)
    unit = lambda rows: (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    images, captions, references = (unit(rng.standard_normal((n, 6))) for n in (8, 8, 14))
    references_of = [[i] if i < 2 else [i, i + 6] for i in range(8)]
    hundred, _ = _clip_score_update([row.reshape(1, 1, 6) for row in torch.from_numpy(images)], [str(i) for i in range(8)], FakeClip(torch.from_numpy(captions)), FakeProcessor())
    # Hessel et al. 2021; github.com/jmhessel/clipscore, clipscore.py
    cosines = np.sum(images.astype(float) * captions.astype(float), axis=1)
    scores = 2.5 * np.clip(cosines, 0, None)
    assert np.allclose(np.clip(hundred.numpy(), 0, None) * 2.5 / 100, scores, atol=1e-5)
    closest = np.array([max(0, max(float(captions[i].astype(float) @ references[r].astype(float)) for r in own)) for i, own in enumerate(references_of)])
    both = scores + closest
    with_references = np.where(both > 0, 2 * scores * closest / np.where(both > 0, both, 1), 0)
    rows = lambda array: [[float(x) for x in row] for row in array]
    return dict(images=rows(images), captions=rows(captions), references=rows(references), referencesOf=references_of, scores=scores.tolist(), withReferences=with_references.tolist())


def main():
    benchmark, open_clip = sys.argv[1:]
    folder = os.path.join("clip_benchmark", "metrics")
    retrieval = retrieval_cases(module_of(benchmark, os.path.join(folder, "zeroshot_retrieval.py")), module_of(open_clip, os.path.join("src", "open_clip_train", "metrics.py")))
    classification = module_of(benchmark, os.path.join(folder, "zeroshot_classification.py"))
    evaluation = dict(macroF1=macro_f1_cases(), multiLabel=multi_label_cases(classification), jaccard=jaccard_cases(), groups=group_cases(), mcnemar=mcnemar_cases(), clipScore=clip_score_case())
    for name, content in (("retrieval", retrieval), ("evaluation", evaluation)):
        with open(f"test/goldens/{name}.json", "w") as out:
            json.dump(content, out)
            out.write("\n")


main()
