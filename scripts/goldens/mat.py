"""Writes test/goldens/mat.json: MATLAB files of SciPy's writer in the form of Stanford Cars' and SVHN's, in Base64.

    python scripts/goldens/mat.py

Needs scipy (scikit-learn brings it).
"""

import base64
import io
import json

import numpy as np
from scipy.io import savemat


def saved(variables, compress):
    file = io.BytesIO()
    savemat(file, variables, do_compression=compress)
    return base64.b64encode(file.getvalue()).decode()


def cars_meta():
    names = np.empty((1, 196), dtype=object)
    for i in range(196):
        names[0, i] = f"Brand {i} Köpenick 2012" if i == 7 else f"Brand {i} Sedan 2012"
    return {"class_names": names}


def cars_annotations():
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    annotations = np.empty((1, 3), dtype=[(field, object) for field in fields])
    for i, (label, name) in enumerate(((196, "00001.jpg"), (8, "00002.jpg"), (1, "00003.jpg"))):
        numbers = [np.array([[value]], dtype=np.uint16) for value in (30, 52, 246 + i, 147)]
        annotations[0, i] = (*numbers, np.array([[label]], dtype=np.uint8), name)
    return {"annotations": annotations}


def svhn():
    y, x, channel, image = np.meshgrid(np.arange(32), np.arange(32), np.arange(3), np.arange(3), indexing="ij")
    return {"X": ((3 * y + 5 * x + 7 * channel + 11 * image) % 256).astype(np.uint8), "y": np.array([[10], [3], [1]], dtype=np.uint8)}


with open("test/goldens/mat.json", "w") as out:
    json.dump({name: {"compressed": saved(make(), True), "plain": saved(make(), False)} for name, make in (("carsMeta", cars_meta), ("carsAnnotations", cars_annotations), ("svhn", svhn))}, out)
    out.write("\n")
