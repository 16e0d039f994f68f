"""scikit-learn's LogisticRegression for bench/probe.mjs: reads float32 features and int32 labels, then answers lines
"C TOL" with seconds, objective / rows, max |gradient| / rows and iterations. The features are given in float64, without
which scikit-learn computes in float32."""

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = sys.argv[4]

import numpy as np
from sklearn.linear_model import LogisticRegression

features = np.fromfile(sys.argv[1], np.float32).reshape(-1, int(sys.argv[3])).astype(np.float64)
labels = np.fromfile(sys.argv[2], np.int32)


def reached(model, c):
    """The objective and the largest element of its gradient, both divided by the number of rows."""
    logits = features @ model.coef_.T + model.intercept_
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    logits -= logits.max(axis=1, keepdims=True)
    exp = np.exp(logits)
    total = exp.sum(axis=1, keepdims=True)
    rows = np.arange(len(labels))
    penalty = (model.coef_**2).sum() / (2 * c * len(labels))
    objective = (np.log(total[:, 0]) - logits[rows, labels]).mean() + penalty
    residual = exp / total
    residual[rows, labels] -= 1
    residual = residual[:, -len(model.intercept_) :]
    gradient = (residual.T @ features + model.coef_ / c) / len(labels)
    return objective, max(np.abs(gradient).max(), np.abs(residual.mean(axis=0)).max())


print("ready", flush=True)
for line in sys.stdin:
    c, tol = map(float, line.split())
    start = time.perf_counter()
    model = LogisticRegression(C=c, tol=tol, max_iter=100_000).fit(features, labels)
    seconds = time.perf_counter() - start
    objective, gradient = reached(model, c)
    print(seconds, objective, gradient, model.n_iter_.max(), flush=True)
