"""Writes test/goldens/linear-probe.json: scikit-learn's LogisticRegression on small problems, in float64 to a small tol.

    python scripts/learn/probe_goldens.py

The features are a function of their place (as test/support/noise.ts has it), so that only results are stored.
"""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

ROOT = Path(__file__).resolve().parents[2]
CASES = [
    {"name": "two classes", "rows": 160, "dim": 12, "classes": 2, "lambda": 1.0},
    {"name": "two classes, weak penalty", "rows": 200, "dim": 10, "classes": 2, "lambda": 0.01},
    {"name": "three classes", "rows": 150, "dim": 9, "classes": 3, "lambda": 1.0},
    {"name": "seven classes, strong penalty", "rows": 210, "dim": 16, "classes": 7, "lambda": 30.0},
    {"name": "five classes of different size", "rows": 180, "dim": 8, "classes": 5, "lambda": 0.3, "uneven": True},
    {"name": "more features than rows", "rows": 40, "dim": 64, "classes": 4, "lambda": 0.1},
    {"name": "standardized", "rows": 120, "dim": 11, "classes": 3, "lambda": 2.0, "standardize": True},
]


def noise(seed: int, count: int) -> np.ndarray:
    """Uniform numbers in [-1, 1) from a counter-based hash; test/support/noise.ts has the same."""
    mask = np.uint64(0xFFFFFFFF)
    h = (np.arange(count, dtype=np.uint64) * np.uint64(2654435761) + np.uint64(seed * 40503)) & mask
    h ^= h >> np.uint64(15)
    h = (h * np.uint64(2246822519)) & mask
    h ^= h >> np.uint64(13)
    return h.astype(np.float64) / 2**31 - 1


def problem(seed: int, rows: int, dim: int, classes: int, uneven: bool) -> tuple[np.ndarray, np.ndarray]:
    """Float32 features around a centre for each class, and labels."""
    place = np.arange(rows)
    labels = np.minimum(place % (classes * 2), classes - 1) if uneven else place % classes
    centres = noise(seed + 1, classes * dim).reshape(classes, dim)
    spread = noise(seed + 2, rows * dim).reshape(rows, dim)
    return (0.3 + 0.4 * centres[labels] + spread).astype(np.float32), labels


def solve(case: dict, seed: int) -> dict:
    features, labels = problem(seed, case["rows"], case["dim"], case["classes"], case.get("uneven", False))
    x = features.astype(np.float64)
    if case.get("standardize"):
        # torchclip rounds scaled features to float32.
        x = StandardScaler().fit_transform(x).astype(np.float32).astype(np.float64)
    # L-BFGS stops at a gradient of some 5e-9 by its other criterion, the change of the objective; this solver goes on.
    model = LogisticRegression(C=1 / case["lambda"], tol=1e-13, max_iter=1000, solver="newton-cholesky").fit(x, labels)
    return {
        **case,
        "seed": seed,
        "coefficients": model.coef_.ravel().tolist(),
        "intercepts": model.intercept_.tolist(),
        "predicted": model.predict(x).tolist(),
        "probabilities": model.predict_proba(x[:5]).ravel().tolist(),
    }


def main() -> None:
    cases = [solve(case, 100 * i) for i, case in enumerate(CASES)]
    golden = {"scikitLearn": sklearn.__version__, "cases": cases}
    (ROOT / "test/goldens/linear-probe.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
