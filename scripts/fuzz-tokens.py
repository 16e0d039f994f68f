"""Random Unicode texts and their ids by open_clip's tokenizer (ftfy, HTML entities, BPE), for scripts/fuzz-tokens.ts.

CLIP's special tokens as plain text ("<|endoftext|>") are left out: OpenAI's and transformers' tokenizers read them as
the tokens, which is what ours does, open_clip's as text. So are characters that this Python's Unicode does not know yet
(unicodedata.unidata_version): Node's Unicode may be newer, and knows more letters.

    python scripts/fuzz-tokens.py COUNT SEED OUT.json
    python scripts/fuzz-tokens.py 250 3 test/goldens/tokens.json
"""

import json
import random
import sys
import unicodedata

import open_clip
from ftfy.chardata import CHARMAP_ENCODINGS

RANGES = [(0x20, 0x7E)] * 6 + [
    (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F), (0xE00, 0xE7F),
    (0x1E00, 0x1EFF), (0x2000, 0x206F), (0x20A0, 0x20CF), (0x2100, 0x214F), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
    (0xAC00, 0xD7A3), (0xFE00, 0xFE0F), (0xFF00, 0xFFEF), (0x1F300, 0x1FAFF), (0x0, 0x1F), (0x10000, 0x10FFFF),
]
# Stored before the random ones: what captions have, and what ftfy is known for.
FIXED = [
    "", " ", "a photo of a cat", "It's 5 o'clock; we're late, aren't you?", "A PHOTO OF ΟΔΥΣΣΕΥΣ, ΣΑΣ. İstanbul STRAẞE", "x" * 400, "word " * 200,
    "猫の写真 🐈 一只猫 고양이 사진", "صورة قطة", "बिल्ली की तस्वीर", "e\u0301\u0323 n\u0303 a\u030a", "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 ☺️",
    "&lt;b&gt;bold&lt;/b&gt; &amp;amp; &eacute; &EACUTE; &#233; &#x1F600; &#128; &hellip;", "<p>&eacute;</p>",
    "schÃ¶n", "âœ” No problems", "&macr;\\_(ã\x83\x84)_/&macr;", "l’humanitÃ©", "voilÃ\xa0 le travail", "voilÃ le travail", "Broken text&hellip; it&#x2019;s ﬂubberiﬁc!",
    "ＬＯＵＤ　ＮＯＩＳＥＳ", "â€œ like this â€\ufffd", "(à¸‡'âŒ£')à¸‡", "РґРѕР±СЂС‹Р№ РґРµРЅСЊ", "Ð¿Ñ\x80Ð¸Ð²ÐµÑ\x82", "ÃƒÂ©", "Ã¢â‚¬â„¢", "Ôªø", "√°", "ﬁancé\x92s \x1b[1mbold\x1b[0m",
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
                out.append(chr(c) if unicodedata.category(chr(c)) not in ("Cn", "Cs") else " ")
        if r.random() < 0.5:
            out.append(" ")
    out = "".join(out)
    while r.random() < 0.2:  # read in a wrong encoding: whole, or a part of it
        start, end = sorted(r.randint(0, len(out)) for _ in "ab") if r.random() < 0.5 else (0, len(out))
        wrong = out[start:end].encode().decode(r.choice(CHARMAP_ENCODINGS), r.choice(["ignore", "replace"]))
        out = out[:start] + (wrong.replace("\xa0", " ") if r.random() < 0.3 else wrong) + out[end:]
    return out


count, seed, file = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
generator = random.Random(seed)
texts = FIXED + [text(generator) for _ in range(count)]
tokenizer = open_clip.get_tokenizer("ViT-B-32")
ids = [[i for i in row if i] for row in tokenizer(texts).tolist()]
json.dump({"texts": texts, "ids": ids}, open(file, "w"))
