"""Random models of real size for the benchmarks, each in every format that the peers read.

    python bench/models.py ViT-B-32 FOLDER      # or ViT-L-14, RN50

FOLDER gets model.safetensors and its config (torchclip, PyTorch, transformers), onnx/vision_model.onnx and
onnx/text_model.onnx in fp32, and the same with `_quantized` (onnxruntime's dynamic int8), in the layout that
@huggingface/transformers loads. Needs torch, transformers, open_clip, onnx, onnxruntime (scripts/goldens/requirements.txt).
"""

import json
import sys
from pathlib import Path

import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

VISION = {
    "ViT-B-32": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=32),
    "ViT-L-14": dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14),
}
TEXT = {
    "ViT-B-32": dict(hidden_size=512, intermediate_size=2048, num_attention_heads=8),
    "ViT-L-14": dict(hidden_size=768, intermediate_size=3072, num_attention_heads=12),
}


class Half(torch.nn.Module):
    """One tower as a module of its own; `model` is held so that the exporter sees its parameters."""

    def __init__(self, model, call):
        super().__init__()
        self.model = model
        self.call = call

    def forward(self, x):
        return self.call(self.model, x)


def export(module, example, file, name, dynamic):
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(module, (example,), str(file), input_names=[name], output_names=["embeds"],
                      dynamic_axes={name: dynamic, "embeds": {0: "batch"}}, opset_version=17, dynamo=False)
    quantize_dynamic(str(file), str(file).replace(".onnx", "_quantized.onnx"), weight_type=QuantType.QUInt8,
                     op_types_to_quantize=["MatMul", "Gemm"])


def main():
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    size = 224
    if name == "RN50":
        import open_clip

        model = open_clip.create_model("RN50-quickgelu", pretrained=None).eval()
        for module in model.modules():  # statistics as after some training, so that activations neither die nor grow
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.8, 1.2)
        save_file(model.state_dict(), str(folder / "open_clip_model.safetensors"))
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": open_clip.get_model_config("RN50-quickgelu"), "preprocess_cfg": {}}))
        image, text = Half(model, lambda m, x: m.encode_image(x)), Half(model, lambda m, x: m.encode_text(x))
    else:
        dimension = 512 if name == "ViT-B-32" else 768
        common = dict(hidden_act="quick_gelu", projection_dim=dimension)
        config = CLIPConfig(
            text_config=dict(num_hidden_layers=12, **TEXT[name], **common),
            vision_config=dict(image_size=size, **VISION[name], **common),
            projection_dim=dimension,
        )
        model = CLIPModel(config).eval()
        with torch.no_grad():  # transformers starts with tiny weights: without this all embeddings look alike
            for key, p in model.named_parameters():
                if p.ndim == 2 and ("proj" in key or "fc" in key):
                    p.normal_(0, 0.8 / p.shape[1] ** 0.5)
        model.save_pretrained(folder)
        CLIPImageProcessor().save_pretrained(folder)

        image = Half(model, lambda m, x: m.visual_projection(m.vision_model(pixel_values=x).pooler_output))
        text = Half(model, lambda m, x: m.text_projection(m.text_model(input_ids=x).pooler_output))
    ids = torch.zeros(2, 77, dtype=torch.long)
    ids[:, 0], ids[:, 5] = 49406, 49407
    with torch.no_grad():
        export(image.eval(), torch.randn(2, 3, size, size), folder / "onnx/vision_model.onnx", "pixel_values", {0: "batch"})
        export(text.eval(), ids, folder / "onnx/text_model.onnx", "input_ids", {0: "batch", 1: "length"} if name != "RN50" else {0: "batch"})


main()
