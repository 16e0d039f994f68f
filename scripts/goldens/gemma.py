"""Writes test/goldens/gemma.json: a small tokenizer.json of Gemma's kind, as SigLIP 2 of fixed size has it, and the
ids that tokenizers gives for texts in lower case, with the end token, padded with <pad>.

    python scripts/goldens/gemma.py       # from the repository root, with the version of requirements.txt
"""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LENGTH = 32
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>"]
TRAINED_ON = [
    "a photo of a cat and a photo of a dog running in the snow",
    "it's great, isn't it? two dogs, running; it's 5.6% of the snow!",
    "the cat isn't in the photo (the dog is), naïve café: 1234",
]
TEXTS = [
    "two dogs, running in the snow!",
    "It's GREAT; isn't it?",
    "a photo of a cat.",
    "  a  photo   of a dog ",
    "naïve Café: 5.6% (1234)",
    "日本語 and 🐶",
    "...!?;:,",
    "x\ty\nz",
    "<eos> is a token, < eos > is text",
    "",
]


def tokenizer():
    """As convert_slow_tokenizer.py of transformers makes GemmaConverter's.

    Spaces become ▁, unknown characters bytes.
    """
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    # Without a split, whole sentences would become tokens: longer words than five characters need no token here.
    trainer = trainers.BpeTrainer(vocab_size=110, max_token_length=5, show_progress=False)
    trained.train_from_iterator(TRAINED_ON, trainer)
    learned = json.loads(trained.to_str())["model"]
    bytes_ = [f"<0x{i:02X}>" for i in range(256)]
    order = sorted(learned["vocab"], key=learned["vocab"].get)
    vocab = {token: i for i, token in enumerate([*SPECIAL, *bytes_, *order])}
    merges = [tuple(m) for m in learned["merges"]]
    made = Tokenizer(
        models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    made.normalizer = normalizers.Replace(" ", "▁")
    made.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    made.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", 1)]
    )
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    made.add_special_tokens(SPECIAL)
    return made


if __name__ == "__main__":
    made = tokenizer()
    ids = [made.encode(text.lower()).ids for text in TEXTS]
    assert all(len(row) <= LENGTH for row in ids)
    rows = [row + [0] * (LENGTH - len(row)) for row in ids]
    with open("test/goldens/gemma.json", "w") as f:
        json.dump(dict(tokenizer=json.loads(made.to_str()), texts=TEXTS, ids=rows), f, ensure_ascii=False)
    print(made.get_vocab_size(), "tokens;", *(made.encode(TEXTS[0]).tokens))
