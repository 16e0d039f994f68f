"""OpenVINO's side of bench/openvino.mjs: the same weights (FOLDER/onnx/vision_model.onnx), compiled for one batch size.

Started with FOLDER and a file of normalised float32 images [rows, 3, size, size]; answers lines "MODE BATCH SECONDS"
(MODE: fp32, bf16, int8) with images a second, and "embed-MODE BATCH FILE" by writing the embeddings. int8 is NNCF's
post-training quantization for Transformers, calibrated on the same images.
"""

import os
import sys
import time

import numpy as np
import openvino as ov

# What libraries print must not be taken for an answer: standard output becomes standard error for them.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

folder, file, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
threads = len(os.sched_getaffinity(0))
pixels = np.fromfile(file, np.float32).reshape(-1, 3, size, size)
core = ov.Core()
requests = {}


def source(mode):
    model = core.read_model(os.path.join(folder, "onnx", "vision_model.onnx"))
    if mode != "int8":
        return model
    import nncf

    nncf.set_log_level(40)
    images = nncf.Dataset(list(pixels), lambda image: image[None])
    return nncf.quantize(model, images, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(pixels))


def request(mode, batch):
    if (mode, batch) not in requests:
        model = source(mode)
        model.reshape([batch, 3, size, size])
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if mode == "bf16" else "f32",
        }
        requests[mode, batch] = core.compile_model(model, "CPU", options).create_infer_request()
    return requests[mode, batch]


print("ready", file=answers, flush=True)
for line in sys.stdin:
    mode, batch, argument = line.split()
    batch = int(batch)
    r = request(mode.removeprefix("embed-"), batch)
    x = pixels[:batch]
    if mode.startswith("embed-"):
        r.infer([x])
        r.get_output_tensor().data.astype(np.float32).tofile(argument)
        print("done", file=answers, flush=True)
        continue
    r.infer([x], share_inputs=True)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < float(argument):
        r.infer([x], share_inputs=True)
        done += batch
    print(done / (time.perf_counter() - start), file=answers, flush=True)
