"""Random Unicode texts and their ids by open_clip's tokenizer (ftfy, HTML entities, BPE), for scripts/fuzz-tokens.ts.

CLIP's special tokens as plain text ("<|endoftext|>") are left out: OpenAI's and transformers' tokenizers read them as
the tokens, which is what ours does, open_clip's as text.

    python scripts/fuzz-tokens.py COUNT SEED OUT.json
"""

import json
import random
import sys

import open_clip

RANGES = [(0x20, 0x7E)] * 6 + [
    (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2100, 0x214F), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF), (0x0, 0x1F), (0x10000, 0x10FFFF),
]
PIECES = ["&amp;", "&lt;b&gt;", "&#39;", "&eacute;", "â€™", "Ã©", "Ã¼ber", "don't", "we're", "  ", "\n", "\u200d", "\ufe0f", "🏽", "ﬁ", "İ", "ß", "ǅ", "１２３", "½"]


def text(r):
    out = []
    for _ in range(r.choice([0, 1, 2, 5, 12, 30, 120])):
        if r.random() < 0.15:
            out.append(r.choice(PIECES))
        else:
            low, high = r.choice(RANGES)
            for _ in range(r.randint(1, 6)):
                c = r.randint(low, high)
                out.append(chr(c) if not 0xD800 <= c < 0xE000 else " ")
        if r.random() < 0.5:
            out.append(" ")
    return "".join(out)


count, seed, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
generator = random.Random(seed)
texts = [text(generator) for _ in range(count)]
tokenizer = open_clip.get_tokenizer("ViT-B-32")
ids = [[i for i in row if i] for row in tokenizer(texts).tolist()]
# The same without ftfy's repair of mis-decoded text, which torchclip does not do (lib/text/clean.ts).
repair = open_clip.tokenizer.ftfy.fix_text
open_clip.tokenizer.ftfy.fix_text = lambda t: repair(t, fix_encoding=False)
unrepaired = [[i for i in row if i] for row in tokenizer(texts).tolist()]
json.dump({"texts": texts, "ids": ids, "unrepaired": unrepaired}, open(file, "w"))
