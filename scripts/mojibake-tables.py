"""Writes native/core/text/mojibake_tables.h: which characters and sequences tell of text that was read in a wrong encoding,
from the expressions of the installed ftfy (its version stands in scripts/goldens/requirements.txt).

    python scripts/mojibake-tables.py && clang-format -i native/core/text/mojibake_tables.h
"""

import importlib.metadata
import itertools
from pathlib import Path

from ftfy import badness, chardata

try:
    from re import _constants as op, _parser as parser
except ImportError:  # before Python 3.11
    import sre_constants as op
    import sre_parse as parser

import ftfy.bad_codecs  # noqa: F401  registers the sloppy encodings

SPECIAL = {"space": "kSpace", "word": "kWord", "any": "kNotNewline"}
sets = {}  # (negated, ranges) or a special name -> index


def index(key):
    return sets.setdefault(key, len(sets))


def ranges(points):
    out = []
    for p in sorted(set(points)):
        if out and out[-1][1] == p - 1:
            out[-1][1] = p
        else:
            out.append([p, p])
    return tuple(map(tuple, out))


def one(code, value):
    """The set of one character that an item of an expression stands for."""
    if code == op.LITERAL:
        return index((False, ranges([value])))
    if code == op.NOT_LITERAL:
        return index((True, ranges([value])))
    if code == op.ANY:
        return index("any")
    assert code == op.IN, code
    negated, points = False, []
    for kind, what in value:
        if kind == op.NEGATE:
            negated = True
        elif kind == op.LITERAL:
            points.append(what)
        elif kind == op.RANGE:
            points.extend(range(what[0], what[1] + 1))
        else:
            assert kind == op.CATEGORY and len(value) == 1, value
            return index({op.CATEGORY_SPACE: "space", op.CATEGORY_WORD: "word"}[what])
    return index((negated, ranges(points)))


def sequences(items):
    """All sequences of sets that a parsed expression stands for, in the order in which it tries them."""
    parts = []
    for code, value in items:
        if code == op.BRANCH:
            parts.append([s for branch in value[1] for s in sequences(branch)])
        elif code == op.SUBPATTERN:
            parts.append(sequences(value[-1]))
        elif code == op.MAX_REPEAT:
            low, high, inner = value
            assert high != op.MAXREPEAT
            parts.append([sum(choice, ()) for n in range(high, low - 1, -1) for choice in itertools.product(sequences(inner), repeat=n)])
        elif code == op.AT:
            assert value == op.AT_BEGINNING
            parts.append([("start",)])
        else:
            parts.append([(one(code, value),)])
    return [sum(choice, ()) for choice in itertools.product(*parts)]


def parsed(expression):
    return parser.parse(expression.pattern, expression.flags)


detector = list(parsed(chardata.UTF8_DETECTOR_RE))
(_, (direction, (behind,))), (_, (low, high, repeated)) = detector
assert direction == -1 and (low, high) == (1, op.MAXREPEAT)

patterns = {
    "kBadness": sequences(parsed(badness.BADNESS_RE)),
    "kAltered": sequences(parsed(chardata.ALTERED_UTF8_RE)),
    "kLossy": sequences(parsed(chardata.LOSSY_UTF8_RE)),
    "kMisread": sequences(repeated),
}
before = one(*behind)
longest = max(len(s) for p in patterns.values() for s in p if s[0] != "start")

out = [
    f"// Written by scripts/mojibake-tables.py from ftfy {importlib.metadata.version('ftfy')} (Apache License 2.0); do not edit.",
    "#pragma once\n\n#include <cstdint>\n\nnamespace torchclip::core::tables {\n",
    "// One set of characters, or of bytes: ranges, first and last in turn.",
    "struct CharacterSet {\n  const char32_t* ranges;\n  std::uint16_t count;\n  enum : std::uint8_t { kIn, kNotIn, kSpace, kWord, kNotNewline } kind;\n};",
    f"struct Sequence {{\n  bool at_start;  // of the text\n  std::uint8_t length;\n  std::uint8_t sets[{longest}];\n}};",
]
entries = []
for number, key in enumerate(sets):
    if isinstance(key, str):
        entries.append(f"{{nullptr, 0, CharacterSet::{SPECIAL[key]}}}")
        continue
    negated, members = key
    out.append(f"constexpr char32_t kRanges{number}[] = {{" + ", ".join(f"{a:#x}, {b:#x}" for a, b in members) + "};")
    entries.append(f"{{kRanges{number}, {len(members)}, CharacterSet::{'kNotIn' if negated else 'kIn'}}}")
out.append("constexpr CharacterSet kSets[] = {" + ", ".join(entries) + "};\n")
titles = {
    "kBadness": "What text hardly ever has: ftfy/badness.py, BADNESS_RE.",
    "kAltered": "UTF-8 in which a space stands for the byte A0: ftfy/chardata.py, ALTERED_UTF8_RE.",
    "kLossy": "UTF-8 in which bytes were lost: LOSSY_UTF8_RE.",
    "kMisread": "One character of UTF-8 read by bytes: UTF8_DETECTOR_RE, and what does not stand before it.",
}
for name, found in patterns.items():
    rows = []
    for s in found:
        start = s[0] == "start"
        s = s[1:] if start else s
        rows.append(f"{{{str(start).lower()}, {len(s)}, {{{', '.join(map(str, s))}}}}}")
    out.append(f"// {titles[name]}\nconstexpr Sequence {name}[] = {{" + ", ".join(rows) + "};")
out.append(f"constexpr std::uint8_t kNotBeforeMisread = {before};\n")
out.append("// The encodings that are tried, in this order: what the bytes from 80 on stand for. `sloppy`: U+FFFD is the byte 1A.\n// `restores_a0`: a space may stand for the byte A0; in Mac Roman it would follow a dash.")
out.append("struct Encoding {\n  bool sloppy, restores_a0;\n  char32_t high[128];\n};")
rows = []
for name in chardata.CHARMAP_ENCODINGS:
    high = bytes(range(0x80, 0x100)).decode(name)
    rows.append(f"// {name}\n{{{str(name.startswith('sloppy')).lower()}, {str(name != 'macroman').lower()}, {{{', '.join(hex(ord(c)) for c in high)}}}}}")
out.append("constexpr Encoding kEncodings[] = {\n" + ",\n".join(rows) + "};\n\n}  // namespace torchclip::core::tables")
path = Path(__file__).parent.parent / "native" / "core" / "text" / "mojibake_tables.h"
path.write_text("\n".join(out) + "\n")
print(f"{path}: {len(sets)} sets, {sum(map(len, patterns.values()))} sequences")
