"""Writes test/goldens/few-shot.json: LP++, Tip-Adapter and ProLIP in NumPy, from their papers' formulas.

    python scripts/learn/few_shot_goldens.py
"""

import json

import numpy as np
from probe_goldens import ROOT, noise, problem

STEPS = 300
LOGIT_SCALE, ALPHA, BETA = 20.0, 1.5, 4.0
# Few steps of a large length, so that rounding cannot grow and the matrix moves far.
PROLIP_STEPS, PROLIP_RATE = 40, 1e-2


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def lp_plus_plus(x: np.ndarray, labels: np.ndarray, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """arXiv:2404.02285, with the steps of section 3.3 and the constants of the authors' code."""
    rows, classes = len(x), len(texts)
    one_hot = np.eye(classes)[labels]
    cosines = x @ texts.T
    w, b = one_hot.T @ x, np.zeros(classes)
    own = (one_hot * cosines).sum(axis=0) / one_hot.sum(axis=0)
    alpha = np.full(classes, 250 * own.mean())
    weight_step = 4 * rows / np.linalg.eigvalsh(x.T @ x).max()
    alpha_step = rows / (4 * (cosines**2).sum(axis=0).max())
    speed_w, speed_b = np.zeros_like(w), np.zeros_like(b)
    for step in range(1, STEPS + 1):
        residual = (softmax(x @ w.T + b + alpha * cosines) - one_hot) / rows
        speed_w = 0.9 * speed_w + residual.T @ x
        speed_b = 0.9 * speed_b + residual.sum(axis=0)
        w, b = w - weight_step * speed_w, b - weight_step * speed_b
        if step % 10 == 0:
            alpha = alpha - alpha_step * (residual * cosines).sum(axis=0)
    return w + alpha[:, None] * texts, b, alpha


def tip_adapter(x: np.ndarray, labels: np.ndarray, texts: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """arXiv:2207.09519, equation 5."""
    votes = np.exp(-BETA * (1 - queries @ x.T)) @ np.eye(len(texts))[labels]
    return LOGIT_SCALE * queries @ texts.T + ALPHA * votes


def prolip(x: np.ndarray, labels: np.ndarray, texts: np.ndarray, first: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """arXiv:2410.05270, with Adam and the cosine schedule of the authors' code."""
    rows, one_hot = len(x), np.eye(len(texts))[labels]
    penalty = len(texts) / rows
    w, mean, square = first.copy(), np.zeros_like(first), np.zeros_like(first)
    for step in range(1, PROLIP_STEPS + 1):
        z = x @ w.T + bias
        length = np.linalg.norm(z, axis=1, keepdims=True)
        f = z / length
        by_f = LOGIT_SCALE * (softmax(LOGIT_SCALE * f @ texts.T) - one_hot) @ texts / rows
        by_z = (by_f - (by_f * f).sum(axis=1, keepdims=True) * f) / length
        gradient = by_z.T @ x + 2 * penalty * (w - first)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient**2
        rate = PROLIP_RATE * (1 + np.cos(np.pi * (step - 1) / PROLIP_STEPS)) / 2
        w = w - rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-4)
    return w


def case(seed: int, rows: int, dim: int, classes: int) -> dict:
    features, labels = problem(seed, rows, dim, classes, False)
    x = (features * np.float32(0.25)).astype(np.float64)
    texts = (noise(seed + 3, classes * dim).reshape(classes, dim) * 0.25).astype(np.float32).astype(np.float64)
    coefficients, intercepts, alphas = lp_plus_plus(x, labels, texts)
    columns = dim - 2
    first = (noise(seed + 4, columns * dim).reshape(columns, dim) * 0.25).astype(np.float32).astype(np.float64)
    bias = (noise(seed + 5, columns) * 0.25).astype(np.float32).astype(np.float64)
    tuned = prolip(x, labels, texts[:, :columns], first, bias)
    return {
        **{"seed": seed, "rows": rows, "dim": dim, "classes": classes},
        "lpPlusPlus": {
            "coefficients": coefficients.ravel().tolist(),
            "intercepts": intercepts.tolist(),
            "alphas": alphas.tolist(),
        },
        "prolip": tuned.ravel().tolist(),
        "tipAdapter": tip_adapter(x, labels, texts, x[:6]).ravel().tolist(),
    }


def main() -> None:
    about = {"steps": STEPS, "logitScale": LOGIT_SCALE, "alpha": ALPHA, "beta": BETA}
    about["prolip"] = {"steps": PROLIP_STEPS, "learningRate": PROLIP_RATE}
    golden = {**about, "cases": [case(11, 24, 10, 3), case(12, 20, 16, 2), case(13, 70, 12, 7)]}
    (ROOT / "test/goldens/few-shot.json").write_text(json.dumps(golden) + "\n")


main()
