"""Writes test/fixtures/images/formats, test/fixtures/images/avif and test/goldens/formats.json: small files of formats and kinds that decoders disagree
about, and what Pillow makes of each (read from bytes, convert("RGB")). Run from the repository root, with the versions in
requirements.txt."""

import hashlib
import io
import json
import os
import struct
import zlib

import numpy as np
from PIL import Image

OUT, AVIF, GOLDENS = "test/fixtures/images/formats", "test/fixtures/images/avif", "test/goldens/formats.json"
W, H = 23, 17
Y, X = np.mgrid[0:H, 0:W]
RGB = np.stack([X * 11 % 256, Y * 15 % 256, (X * 7 + Y * 9) % 256], -1).astype(np.uint8)
RGB[3:9, 4:12] = (np.arange(144).reshape(6, 8, 3) * 37 % 256).astype(np.uint8)
GREY, ALPHA = RGB[..., 2], ((X * 5 + Y * 13) % 256).astype(np.uint8)
PALETTE = np.stack([np.arange(256) * 3 % 256, 255 - np.arange(256), np.arange(256) * 5 % 256], -1).astype(np.uint8)
RGB16 = RGB.astype(np.uint16) * 256 + 200 - RGB
FILES = {}
# Files that Pillow's libtiff reads and sharp's does not: they are E_IMAGE_DECODE, and have no golden.
NOT_DECODED = {}


def packed(values, bits):
    """Rows of values of 1, 2, 4 or 8 bits, filled up to bytes."""
    rows = []
    for row in values:
        text = "".join(format(int(v), f"0{bits}b") for v in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def tiff(photometric, bits, strips, endian="<", compression=1, rows=H, width=W, height=H, **more):
    """Tags in `more` are t258=(type, values); types 3 and 4. The directory follows the pixels."""
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [compression]), 262: (3, [photometric]), 277: (3, [len(bits)]), 278: (4, [rows]), 284: (3, [1])}
    tags.update({int(name[1:]): value for name, value in more.items()})
    body, offsets = b"", []
    for strip in strips:
        offsets.append(8 + len(body))
        body += strip + b"\0" * (len(strip) % 2)
    tags[273], tags[279] = (4, offsets), (4, [len(s) for s in strips])
    start = 8 + len(body)
    behind = start + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        raw = struct.pack(endian + {3: "H", 4: "I"}[kind] * len(values), *values)
        entries += struct.pack(endian + "HHI", tag, kind, len(values))
        if len(raw) <= 4:
            entries += raw.ljust(4, b"\0")
        else:
            entries += struct.pack(endian + "I", behind + len(extra))
            extra += raw + b"\0" * (len(raw) % 2)
    mark = b"II" if endian == "<" else b"MM"
    return mark + struct.pack(endian + "HI", 42, start) + body + struct.pack(endian + "H", len(tags)) + entries + b"\0" * 4 + extra


def tiffs():
    rgb = (2, [8] * 3, [RGB.tobytes()])
    for turn in range(1, 9):
        FILES[f"turn{turn}.tif"] = tiff(*rgb, t274=(3, [turn]))
    FILES["turn6-grey.tif"] = tiff(1, [8], [GREY.tobytes()], t274=(3, [6]))
    FILES["turn9.tif"] = tiff(*rgb, t274=(3, [9]))
    for endian, name in (("<", "le"), (">", "be")):
        signed = GREY.astype(int) * 3 - 200
        FILES[f"uint16-{name}.tif"] = tiff(1, [16], [(GREY.astype(int) * 3).astype(endian + "u2").tobytes()], endian)
        FILES[f"int16-{name}.tif"] = tiff(1, [16], [signed.astype(endian + "i2").tobytes()], endian, t339=(3, [2]))
        FILES[f"int32-{name}.tif"] = tiff(1, [32], [signed.astype(endian + "i4").tobytes()], endian, t339=(3, [2]))
        FILES[f"float32-{name}.tif"] = tiff(1, [32], [((GREY - 20.0) * 1.3).astype(endian + "f4").tobytes()], endian, t339=(3, [3]))
        FILES[f"cmyk16-{name}.tif"] = tiff(5, [16] * 4, [np.dstack([RGB16, 40000 - RGB16[..., 0] // 3]).astype(endian + "u2").tobytes()], endian)
    FILES["int16-deflate.tif"] = tiff(1, [16], [zlib.compress((GREY.astype(int) * 3 - 200).astype("<i2").tobytes())], compression=8, t339=(3, [2]))
    FILES["white-is-zero16.tif"] = tiff(0, [16], [(GREY.astype(int) * 3).astype("<u2").tobytes()])
    FILES["white-is-zero8.tif"] = tiff(0, [8], [GREY.tobytes()])
    FILES["int8.tif"] = tiff(1, [8], [(GREY.astype(int) - 128).astype("i1").tobytes()], t339=(3, [2]))
    FILES["rgb16.tif"] = tiff(2, [16] * 3, [RGB16.astype("<u2").tobytes()])
    FILES["cmyk8.tif"] = tiff(5, [8] * 4, [np.dstack([RGB, 255 - GREY]).tobytes()])
    premultiplied = np.dstack([np.minimum(RGB, ALPHA[..., None]), ALPHA])
    FILES["premultiplied.tif"] = tiff(2, [8] * 4, [premultiplied.tobytes()], t338=(3, [1]))
    ycbcr = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    FILES["ycbcr.tif"] = tiff(6, [8] * 3, [ycbcr.tobytes()], t530=(3, [1, 1]))
    FILES["ycbcr-deflate.tif"] = tiff(6, [8] * 3, [zlib.compress(ycbcr.tobytes())], compression=8, t530=(3, [1, 1]))
    FILES["lab.tif"] = tiff(8, [8] * 3, [RGB.tobytes()])
    FILES["lab-corners.tif"] = tiff(8, [8] * 3, [(np.arange(W * H * 3) % 3 * 64 + np.arange(W * H * 3) // 7 % 2 * 127).astype(np.uint8).tobytes()])
    FILES["jpeg.tif"] = saved(Image.fromarray(RGB), "TIFF", compression="jpeg")
    FILES["lzw.tif"] = saved(Image.fromarray(RGB), "TIFF", compression="tiff_lzw")
    FILES["group4.tif"] = saved(Image.fromarray(GREY > 127), "TIFF", compression="group4")
    FILES["pages.tif"] = saved(Image.fromarray(RGB), "TIFF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())])
    strips = [np.ascontiguousarray(RGB[i : i + 4]).tobytes() for i in range(0, H, 4)]
    FILES["bad-resolution-unit.tif"] = tiff(2, [8] * 3, strips, rows=4, t296=(3, [77]))
    FILES["cut-strips.tif"] = tiff(2, [8] * 3, strips[:2] + [b""] * 3, rows=4)
    FILES["short-strip.tif"] = tiff(2, [8] * 3, [zlib.compress(s[:-40]) for s in strips], compression=8, rows=4)
    damaged = bytearray(tiff(2, [8] * 3, [zlib.compress(s) for s in strips], compression=8, rows=4))
    damaged[40] ^= 0xFF
    FILES["damaged-deflate.tif"] = damaged
    for compression in ("zstd", "lzma"):
        NOT_DECODED[f"{compression}.tif"] = saved(Image.fromarray(RGB), "TIFF", compression=compression)
    FILES["unknown-compression.tif"] = tiff(*rgb, compression=60000)


def png(bits, kind, rows, *chunks):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", W, H, bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*c) for c in chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def pngs():
    grey16 = GREY.astype(int) * 257 + 100 - GREY
    rows = lambda a: [np.ascontiguousarray(r).tobytes() for r in a.astype(">u2")]
    FILES["grey16.png"] = png(16, 0, rows(GREY.astype(int) * 3))
    # The transparent level is a sample of the image: tRNS alone must not change how samples become 8 bits.
    FILES["grey16-trns.png"] = png(16, 0, rows(GREY.astype(int) * 3), (b"tRNS", struct.pack(">H", int(GREY[5, 7]) * 3)))
    FILES["grey-alpha16.png"] = png(16, 4, rows(np.dstack([grey16, ALPHA.astype(int) * 257])))
    FILES["rgb16.png"] = png(16, 2, rows(RGB16))
    FILES["rgba16.png"] = png(16, 6, rows(np.dstack([RGB16, ALPHA.astype(int) * 257])))


def gif(frames, width=W, height=H, table=True, background=0):
    """frames: (left, top, indices, transparent index or None, own table, interlaced). 32 colours, uncompressed codes."""
    colours = PALETTE[:32].tobytes()
    out = b"GIF89a" + struct.pack("<HHBBB", width, height, (0x80 if table else 0) | 4, background, 0) + (colours if table else b"")
    for left, top, indices, transparent, own, interlaced in frames:
        if transparent is not None:
            out += b"!\xf9\x04" + struct.pack("<BHB", 1, 5, transparent) + b"\0"
        flags = (0x84 if own else 0) | (0x40 if interlaced else 0)
        out += b"," + struct.pack("<HHHHB", left, top, indices.shape[1], indices.shape[0], flags) + (bytes(255 - v for v in colours) if own else b"")
        if interlaced:
            indices = np.concatenate([indices[0::8], indices[4::8], indices[2::4], indices[1::2]])
        text = ""  # bits, last first; the code width stays 6 bits because the table is cleared in time
        for i, value in enumerate(indices.reshape(-1)):
            text = format(int(value), "06b") + (format(32, "06b") if i % 30 == 0 else "") + text
        text = format(33, "06b") + text
        data = int(text, 2).to_bytes((len(text) + 7) // 8, "little")
        out += b"\x05" + b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255)) + b"\0"
    return out + b";"


def gifs():
    whole = GREY >> 3
    part = whole[3:12, 5:17]
    kinds = {
        "plain": [(0, 0, whole, None, 0, 0)],
        "transparent": [(0, 0, whole, 7, 0, 0)],
        "own-table": [(0, 0, whole, 7, 1, 0)],
        "interlaced": [(0, 0, whole, 7, 0, 1)],
        "part": [(5, 3, part, None, 0, 0)],
        "part-transparent": [(5, 3, part, 7, 0, 0)],
        "part-own-table": [(5, 3, part, 7, 1, 0)],
        "part-beyond-table": [(5, 3, part, 200, 0, 0)],
        "beyond-screen": [(4, 3, whole, None, 0, 0)],
        "two": [(5, 3, part, 7, 0, 0), (0, 0, whole, 3, 0, 0)],
    }
    for name, frames in kinds.items():
        FILES[f"{name}.gif"] = gif(frames)
    FILES["part-background.gif"] = gif(kinds["part"], background=9)
    FILES["no-table.gif"] = gif(kinds["plain"], table=False)
    FILES["no-table-part.gif"] = gif(kinds["part"], table=False)
    FILES["cut.gif"] = FILES["transparent.gif"][:-250]


def bmp_rows(rows, top_down=False):
    rows = [bytes(r) + b"\0" * (-len(r) % 4) for r in rows]
    return b"".join(rows if top_down else rows[::-1])


def bmp(bits, data, height=H, compression=0, palette=b"", colours=0, header=40, masks=b"", file=True):
    if header == 12:
        head = struct.pack("<IHHHH", 12, W, height, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", header, W, height, 1, bits, compression, len(data), 2835, 2835, colours, 0)
        if header > 40:
            head, masks = head + masks.ljust(header - 40, b"\0"), b""
    rest = head + masks + palette
    return (b"BM" + struct.pack("<IHHI", 14 + len(rest) + len(data), 0, 0, 14 + len(rest)) if file else b"") + rest + data


def runs(values, nibbles):
    """Rows in runs of two, and every third group in absolute mode."""
    out = b""
    for row in values[::-1]:
        for i in range(0, len(row), 6):
            group = [int(v) for v in row[i : i + 6]]
            if i % 18 == 0 and len(group) == 6:
                body = bytes((group[k] << 4) | group[k + 1] for k in (0, 2, 4)) if nibbles else bytes(group)
                out += bytes([0, 6]) + body + b"\0" * (len(body) % 2)
            else:
                out += b"".join(bytes([1, v << 4 if nibbles else v]) for v in group)
        out += b"\0\0"
    return out + b"\0\1"


def bmps():
    four = b"".join(bytes([int(b), int(g), int(r), 0]) for r, g, b in PALETTE)
    three = b"".join(bytes([int(b), int(g), int(r)]) for r, g, b in PALETTE)
    ramp = b"".join(bytes([i, i, i, 0]) for i in range(256))
    bgr = np.ascontiguousarray(RGB[..., ::-1])
    mask = lambda *m: struct.pack("<" + "I" * len(m), *m)
    FILES["rgb24.bmp"] = bmp(24, bmp_rows(r.tobytes() for r in bgr))
    FILES["top-down.bmp"] = bmp(24, bmp_rows((r.tobytes() for r in bgr), True), height=-H)
    for header in (12, 64, 124):
        FILES[f"header{header}.bmp"] = bmp(24, bmp_rows(r.tobytes() for r in bgr), header=header)
    for bits in (1, 4, 8):
        rows = bmp_rows(packed(GREY >> (8 - bits), bits))
        FILES[f"palette{bits}.bmp"] = bmp(bits, rows, palette=four[: 4 << bits])
        FILES[f"palette{bits}-os2.bmp"] = bmp(bits, rows, palette=three[: 3 << bits], header=12)
    FILES["palette-of-20.bmp"] = bmp(8, bmp_rows(packed(GREY, 8)), palette=four[:80], colours=20)
    FILES["ramp-of-20.bmp"] = bmp(8, bmp_rows(packed(GREY, 8)), palette=ramp[:80], colours=20)
    wide = RGB.astype(int)
    x555 = ((wide[..., 0] >> 3) << 10) | ((wide[..., 1] >> 3) << 5) | (wide[..., 2] >> 3)
    x565 = ((wide[..., 0] >> 3) << 11) | ((wide[..., 1] >> 2) << 5) | (wide[..., 2] >> 3)
    FILES["555.bmp"] = bmp(16, bmp_rows(r.tobytes() for r in x555.astype("<u2")))
    FILES["565.bmp"] = bmp(16, bmp_rows(r.tobytes() for r in x565.astype("<u2")), compression=3, masks=mask(0xF800, 0x7E0, 0x1F))
    bgra = np.dstack([bgr, ALPHA])
    FILES["bgra.bmp"] = bmp(32, bmp_rows(r.tobytes() for r in bgra))
    FILES["bgra-masks.bmp"] = bmp(32, bmp_rows(r.tobytes() for r in bgra), compression=3, header=108, masks=mask(0xFF0000, 0xFF00, 0xFF, 0xFF000000))
    FILES["xbgr-masks.bmp"] = bmp(32, bmp_rows(r.tobytes() for r in np.dstack([ALPHA, bgr])), compression=3, masks=mask(0xFF000000, 0xFF0000, 0xFF00))
    FILES["rle8.bmp"] = bmp(8, runs(GREY // 16, False), compression=1, palette=four)
    FILES["rle4.bmp"] = bmp(4, runs(GREY // 16, True), compression=2, palette=four[:64])
    FILES["rle-cut.bmp"] = FILES["rle8.bmp"][:-100]
    FILES["cut.bmp"] = FILES["rgb24.bmp"][:-300]
    FILES["444.bmp"] = bmp(16, bmp_rows(r.tobytes() for r in x555.astype("<u2")), compression=3, masks=mask(0xF00, 0xF0, 0xF))
    dib = lambda bits, data, palette=b"": bmp(bits, data + bmp_rows(packed(ALPHA > 200, 1)), 2 * H, palette=palette, file=False)
    icons = {
        "rgb24": (W, 24, dib(24, bmp_rows(r.tobytes() for r in bgr))),
        "bgra": (W, 32, dib(32, bmp_rows(r.tobytes() for r in bgra))),
        "palette8": (W, 8, dib(8, bmp_rows(packed(GREY, 8)), four)),
        "png": (W, 32, saved(Image.fromarray(np.dstack([RGB, ALPHA])), "PNG")),
    }
    for name, icon in icons.items():
        FILES[f"{name}.ico"] = ico([icon])
    FILES["several.ico"] = ico([(8, 4, icons["png"][2]), icons["bgra"], icons["palette8"], icons["png"]])
    FILES["cut.ico"] = FILES["rgb24.ico"][:-500]


def ico(images):
    directory, body = b"", b""
    for width, bits, data in images:
        directory += struct.pack("<BBBBHHII", width, width, 0, 0, 1, bits, len(data), 6 + 16 * len(images) + len(body))
        body += data
    return struct.pack("<HHH", 0, 1, len(images)) + directory + body


def pnms():
    text = lambda values: b"\n".join(b" ".join(str(int(v)).encode() for v in row.reshape(-1)) for row in values) + b"\n"
    head = lambda magic, most=None: f"{magic}\n{W} {H}\n".encode() + (f"{most}\n".encode() if most else b"")
    wide = RGB.astype(int)
    FILES["p1.pbm"] = head("P1") + text(GREY >> 7)
    FILES["p1-tight.pbm"] = head("P1") + text(GREY >> 7).replace(b" ", b"")
    FILES["p4.pbm"] = head("P4") + b"".join(packed(GREY >> 7, 1))
    for most in (15, 255, 1000, 65535):
        values = np.minimum(GREY.astype(int) * 3, most)
        FILES[f"p2-{most}.pgm"] = head("P2", most) + text(values)
        FILES[f"p5-{most}.pgm"] = head("P5", most) + values.astype("u1" if most < 256 else ">u2").tobytes()
    for most in (100, 255, 65535):
        values = wide * most // 255
        FILES[f"p3-{most}.ppm"] = head("P3", most) + text(values)
        FILES[f"p6-{most}.ppm"] = head("P6", most) + values.astype("u1" if most < 256 else ">u2").tobytes()
    FILES["comments.ppm"] = b"P6 # one\n#two\n23#x\n 17\r255\n" + RGB.tobytes()
    FILES["comments-plain.ppm"] = head("P3", 255) + b"# c\n" + text(RGB)
    FILES["cut.ppm"] = FILES["p6-255.ppm"][:-100]
    FILES["cut-plain.ppm"] = FILES["p3-255.ppm"][:-100]
    FILES["too-large.ppm"] = head("P3", 100) + text(wide)
    FILES["no-number.ppm"] = b"P6\nab cd\n255\n" + RGB.tobytes()


def qois():
    smooth = np.stack([(np.add.outer(np.arange(20), np.arange(30)) // 2 + c * 60) % 256 for c in range(3)], -1).astype(np.uint8)
    FILES["rgb.qoi"] = saved(Image.fromarray(RGB), "QOI")
    FILES["rgba.qoi"] = saved(Image.fromarray(np.dstack([RGB, ALPHA])), "QOI")
    FILES["smooth.qoi"] = saved(Image.fromarray(smooth), "QOI")
    FILES["flat.qoi"] = saved(Image.fromarray(np.tile(RGB[:1, :1], (40, 70, 1))), "QOI")
    FILES["cut.qoi"] = FILES["rgb.qoi"][:-200]


def avifs():
    """One image, stored with each turn. Decoders differ by a level, so that the test compares the files with each other."""
    os.makedirs(AVIF, exist_ok=True)
    for turn in (1, 2, 3, 5, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        with open(f"{AVIF}/turn{turn}.avif", "wb") as f:
            f.write(saved(Image.fromarray(RGB), "AVIF", quality=100, subsampling="4:4:4", exif=exif))


def main():
    os.makedirs(OUT, exist_ok=True)
    avifs()
    for make in (tiffs, pngs, gifs, bmps, pnms, qois):
        make()
    goldens = {}
    for name, data in NOT_DECODED.items():
        with open(f"{OUT}/{name}", "wb") as f:
            f.write(data)
    for name, data in FILES.items():
        with open(f"{OUT}/{name}", "wb") as f:
            f.write(data)
        try:
            image = Image.open(io.BytesIO(bytes(data))).convert("RGB")
            goldens[name] = dict(width=image.width, height=image.height, sha256=hashlib.sha256(np.asarray(image).tobytes()).hexdigest())
        except Exception as error:
            goldens[name] = dict(error=f"{type(error).__name__}")
    with open(GOLDENS, "w") as f:
        json.dump(goldens, f, indent=0)
    refused = [name for name, golden in goldens.items() if "error" in golden]
    print(len(goldens), "files; Pillow refuses", ", ".join(refused))


if __name__ == "__main__":
    main()
