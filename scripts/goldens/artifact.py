"""An artifact in Python, as Triton's PyTorch backend would run it: fp32, moved to bf16 and back.

    python scripts/goldens/artifact.py models/tiny.pt
"""

import sys

import torch

file = sys.argv[1]
generator = torch.Generator().manual_seed(0)
model = torch.jit.load(file).eval().to(torch.float32)
size = model.image_size
images = torch.randn(2, 3, size, size, generator=generator)
texts = torch.zeros(2, 8, dtype=torch.long)
texts[:, 1:4] = 5
texts[:, 0], texts[:, 4] = model.vocab_size - 2, model.vocab_size - 1
with torch.no_grad():
    image, text = model.encode_image(images), model.encode_text(texts)
    model = model.to(torch.bfloat16)
    image16, text16 = model.encode_image(images.bfloat16()).float(), model.encode_text(texts).float()
    model = model.to(torch.float32)  # its weights keep bf16's rounding
    back = model.encode_image(images)
    again = torch.jit.load(file).eval().to(torch.float32)
    same = max((again.encode_image(images) - image).abs().max().item(), (again.encode_text(texts) - text).abs().max().item())
cosine = lambda a, b: torch.cosine_similarity(a, b).min().item()
print(f"loaded twice: largest difference {same:.2e}; bf16: least cosine {cosine(image, image16):.6f} (images), {cosine(text, text16):.6f} (texts); back to fp32: {cosine(image, back):.6f}")
assert same == 0 and min(cosine(image, image16), cosine(text, text16), cosine(image, back)) > 0.999
