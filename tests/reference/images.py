"""Makes the image fixtures and writes down what Pillow and transformers make of them.

    python tests/reference/images.py

writes `tests/fixtures/images/`: the image files; `decode.json` and `*.expected.png` with PIL's
pixels of each; `options.json` with checksums of what PIL makes of some by other choices;
`resize.json` and `resize_32.expected.png` with what PIL resizes patterns to; and
`pixel_values.json` with samples and checksums of the tensors of `CLIPImageProcessorPil`. It is seeded and needs no network. The versions it was run
with stand in the JSON files; Pillow and transformers decide the numbers.
"""

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps, PngImagePlugin
import transformers
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

OUT = Path(__file__).parent.parent / "fixtures" / "images"
ORIENTATION = 0x0112
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def picture(width, height, channels=3, seed=0):
    """Gradients, edges and noise, so that every filter, predictor and quantiser has work to do."""
    random = np.random.default_rng([seed, width, height, channels])
    x = np.arange(width)[None, :, None] / max(width - 1, 1)
    y = np.arange(height)[:, None, None] / max(height - 1, 1)
    phase = np.arange(channels)[None, None, :]
    wave = 0.5 + 0.3 * np.sin(9 * x + 2 * phase) * np.cos(7 * y - phase) + 0.2 * (x - y)
    disc = ((x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06) * (0.5 - 0.4 * (phase % 2))
    noise = random.normal(0, 0.02, (height, width, channels))
    return np.clip((wave + disc + noise) * 255, 0, 255).astype(np.uint8)


def rgb(width=37, height=29, seed=0):
    return Image.fromarray(picture(width, height, 3, seed))


def grey(width=37, height=29, seed=0):
    return Image.fromarray(picture(width, height, 1, seed)[:, :, 0])


def alpha_ramp(width, height):
    ramp = np.linspace(0, 255, width).astype(np.uint8)[None, :].repeat(height, 0)
    ramp[: height // 4] = 0
    return ramp


def rgba(width=37, height=29):
    pixels = np.dstack([picture(width, height), alpha_ramp(width, height)])
    return Image.fromarray(pixels)


def palette(width=37, height=29, colours=256):
    return rgb(width, height).quantize(colours, dither=Image.Dither.NONE)


def save(name, image, **options):
    image.save(OUT / name, **options)


def exif(orientation):
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


# ---- PNG, written by hand where Pillow does not write the kind -------------------------------


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def pack_rows(samples, depth):
    """[height, width, channels] to PNG scanlines, each with the filter type that its row picks."""
    rows = []
    height, width, channels = samples.shape
    bpp = max(1, channels * depth // 8)
    previous = None
    for y in range(height):
        flat = samples[y].reshape(-1)
        if depth == 16:
            row = flat.astype(">u2").tobytes()
        elif depth == 8:
            row = flat.astype(np.uint8).tobytes()
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in flat)
            bits += "0" * (-len(bits) % 8)
            row = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
        row = np.frombuffer(row, np.uint8).astype(int)
        left = np.concatenate([np.zeros(bpp, int), row[:-bpp]]) if len(row) > bpp else np.zeros(len(row), int)
        up = previous if previous is not None else np.zeros(len(row), int)
        kind = y % 4
        filtered = [row, row - left, row - up, row - (left + up) // 2][kind]
        rows.append(bytes([kind]) + bytes((filtered % 256).astype(np.uint8)))
        previous = row
    return b"".join(rows)


def raw_png(name, samples, depth, colour, interlaced=False, before=b"", after=b""):
    if samples.ndim == 2:
        samples = samples[:, :, None]
    height, width, _ = samples.shape
    data = b""
    if interlaced:
        for x0, y0, dx, dy in ADAM7:
            part = samples[y0::dy, x0::dx]
            if part.size:
                data += pack_rows(part, depth)
    else:
        data = pack_rows(samples, depth)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlaced))
    (OUT / name).write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + before
        + png_chunk(b"IDAT", zlib.compress(data, 9))
        + after
        + png_chunk(b"IEND", b"")
    )


def make_png():
    save("rgb8.png", rgb())
    save("rgba8.png", rgba())
    save("grey8.png", grey())
    save("grey_alpha8.png", rgba().convert("LA"))
    save("palette8.png", palette())
    save("palette8_trns.png", palette(), transparency=bytes(range(0, 256)))
    save("rgb8_trns.png", rgb(), transparency=tuple(int(v) for v in picture(37, 29)[3, 3]))
    save("grey8_trns.png", grey(), transparency=int(picture(37, 29, 1)[3, 3, 0]))
    for depth in (1, 2, 4):
        levels = picture(37, 29, 1)[:, :, 0] >> (8 - depth)
        raw_png(f"grey{depth}.png", levels, depth, 0)
        raw_png(f"grey{depth}_interlaced.png", levels, depth, 0, interlaced=True)
        colours = picture(1 << depth, 1, 3, seed=7).tobytes()
        raw_png(f"palette{depth}.png", levels, depth, 3, before=png_chunk(b"PLTE", colours))
    wide = picture(23, 19, 4).astype(np.uint16) * 257 ^ picture(23, 19, 4, seed=1)
    # Low and high values: PIL saturates 16-bit grey rather than scaling it.
    grey16 = np.where(np.arange(23)[None, :] % 2, wide[:, :, 0] >> 8, wide[:, :, 0])
    raw_png("grey16.png", grey16, 16, 0)
    key = struct.pack(">H", int(grey16[2, 2]))
    raw_png("grey16_trns.png", grey16, 16, 0, before=png_chunk(b"tRNS", key))
    raw_png("grey_alpha16.png", wide[:, :, [0, 3]], 16, 4)
    raw_png("rgb16.png", wide[:, :, :3], 16, 2)
    raw_png("rgba16.png", wide, 16, 6)
    raw_png("rgb16_interlaced.png", wide[:, :, :3], 16, 2, interlaced=True)
    raw_png("rgb8_interlaced.png", picture(37, 29), 8, 2, interlaced=True)
    raw_png("rgba8_interlaced.png", np.asarray(rgba()), 8, 6, interlaced=True)
    raw_png("one_pixel_interlaced.png", picture(1, 1), 8, 2, interlaced=True)
    late = png_chunk(b"eXIf", exif(6).tobytes()[6:])
    raw_png("late_exif.png", picture(37, 29), 8, 2, after=late)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode())
    save("xmp_orientation.png", rgb(), pnginfo=info)
    save("animated.png", rgb(), save_all=True, append_images=[rgb(seed=1)])
    save("static_then_animated.png", rgb(), save_all=True, append_images=[rgb(seed=1)], default_image=True)


# ---- JPEG ------------------------------------------------------------------------------------


def jpeg_bytes(image, **options):
    data = io.BytesIO()
    image.save(data, "JPEG", **options)
    return data.getvalue()


def without_adobe(data):
    at = data.index(b"\xff\xee")
    (length,) = struct.unpack(">H", data[at + 2 : at + 4])
    return data[:at] + data[at + 2 + length :]


def as_440(data):
    """4:2:2 with width and height and the sampling factors of luma swapped, which keeps the number
    of blocks: a scrambled picture, but a valid 4:4:0 file, which Pillow does not write."""
    at = data.index(b"\xff\xc0")
    size, sampling = data[at + 5 : at + 9], data[at + 11 : at + 12]
    assert sampling == b"\x21"
    frame = data[at : at + 5] + size[2:] + size[:2] + data[at + 9 : at + 11] + b"\x12"
    return data[:at] + frame + data[at + 12 :]


def make_jpeg():
    photo = rgb(173, 131)
    for name, sampling in (("444", 0), ("422", 1), ("420", 2)):
        save(f"baseline_{name}.jpg", photo, quality=90, subsampling=sampling)
        save(f"progressive_{name}.jpg", photo, quality=90, subsampling=sampling, progressive=True)
    (OUT / "baseline_440.jpg").write_bytes(as_440((OUT / "baseline_422.jpg").read_bytes()))
    save("low_quality.jpg", photo, quality=20)
    save("restarts.jpg", photo, quality=85, restart_marker_rows=1)
    save("grey.jpg", grey(173, 131), quality=90)
    save("grey_progressive.jpg", grey(173, 131), quality=90, progressive=True)
    save("rgb.jpg", rgb(61, 43), quality=90, keep_rgb=True)
    save("one_pixel.jpg", rgb(1, 1), quality=90)
    save("tall.jpg", rgb(3, 150), quality=90)
    cmyk = Image.fromarray(picture(61, 43, 4), "CMYK")
    adobe = jpeg_bytes(cmyk, quality=95)
    (OUT / "cmyk_adobe.jpg").write_bytes(adobe)
    (OUT / "cmyk_plain.jpg").write_bytes(without_adobe(adobe))
    transform = adobe.index(b"Adobe") + 11
    (OUT / "ycck.jpg").write_bytes(adobe[:transform] + b"\x02" + adobe[transform + 1 :])
    save("xmp_orientation.jpg", rgb(29, 21), quality=90, xmp=XMP)
    with_thumbnail = exif(1)
    thumbnail = jpeg_bytes(rgb(16, 12), quality=80)
    data = jpeg_bytes(rgb(61, 43), quality=90, exif=with_thumbnail.tobytes() + thumbnail)
    (OUT / "thumbnail.jpg").write_bytes(data)
    (OUT / "trailing_junk.jpg").write_bytes(jpeg_bytes(rgb(61, 43), quality=90) + b"\0junk\xff\xe0" * 9)


# ---- GIF, BMP, WebP --------------------------------------------------------------------------


def lzw(indices, bits):
    """GIF's code stream without compression: a clear code before the table can grow."""
    clear, stream, width = 1 << bits, [], bits + 1
    for i, index in enumerate(indices):
        if i % ((1 << bits) - 2) == 0:
            stream.append(clear)
        stream.append(int(index))
    stream.append(clear + 1)
    value = sum(code << (i * width) for i, code in enumerate(stream))
    data = value.to_bytes((len(stream) * width + 7) // 8, "little")
    blocks = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return bytes([bits]) + blocks + b"\0"


def raw_gif(name, screen, frame, indices, transparent=None, local=False, colours=16):
    table = picture(colours, 1, 3, seed=9).tobytes()
    size = colours.bit_length() - 2
    data = b"GIF89a" + struct.pack("<HHBBB", *screen, 0 if local else 0x80 | size, 0, 0)
    if not local:
        data += table
    if transparent is not None:
        data += b"!\xf9\x04" + bytes([1, 0, 0, transparent]) + b"\0"
    data += b"," + struct.pack("<HHHHB", *frame, 0x80 | size if local else 0)
    if local:
        data += table
    (OUT / name).write_bytes(data + lzw(indices, 4) + b";")


def make_gif():
    save("palette.gif", palette())
    save("interlaced.gif", palette(), interlace=1)
    save("grey.gif", grey())
    save("few_colours.gif", palette(colours=5))
    frames = [palette(37, 29), rgb(37, 29, seed=3).quantize(64)]
    save("animated.gif", frames[0], save_all=True, append_images=frames[1:], duration=50)
    save("transparent.gif", rgba().quantize(64), transparency=3)
    small = (picture(9, 7, 1)[:, :, 0] >> 4).ravel()
    raw_gif("offset.gif", (20, 15), (5, 4, 9, 7), small)
    raw_gif("offset_transparent.gif", (20, 15), (5, 4, 9, 7), small, transparent=6)
    raw_gif("offset_local.gif", (20, 15), (5, 4, 9, 7), small, transparent=2, local=True)
    raw_gif("overhanging.gif", (10, 8), (5, 4, 9, 7), small)
    raw_gif("short_palette.gif", (9, 7), (0, 0, 9, 7), small, colours=8)


def raw_bmp(name, width, height, bits, rows, compression=0, masks=b"", table=b"", header=40, top_down=False):
    info = struct.pack(
        "<IiiHHIIiiII",
        header,
        width,
        -height if top_down else height,
        1,
        bits,
        compression,
        len(rows),
        2835,
        2835,
        len(table) // 4,
        0,
    )
    info += masks if header == 40 else masks.ljust(header - 40, b"\0")
    offset = 14 + len(info) + len(table)
    head = b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset)
    (OUT / name).write_bytes(head + info + table + rows)


def bmp_rows(pixels, dtype):
    rows = [row.astype(dtype).tobytes() for row in pixels[::-1]]
    return b"".join(row + b"\0" * (-len(row) % 4) for row in rows)


def make_bmp():
    save("rgb24.bmp", rgb())
    save("palette8.bmp", palette())
    save("grey8.bmp", grey())
    save("one_bit.bmp", grey().convert("1"))
    save("rgba32.bmp", rgba())
    pixels = picture(37, 29, 4).astype(np.uint32)
    bgr = pixels[:, :, [2, 1, 0]].reshape(29, -1)
    raw_bmp("top_down.bmp", 37, 29, 24, bmp_rows(bgr[::-1], np.uint8), top_down=True)
    r, g, b = pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2]
    raw_bmp("rgb555.bmp", 37, 29, 16, bmp_rows(r >> 3 << 10 | g >> 3 << 5 | b >> 3, "<u2"))
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    raw_bmp("rgb565.bmp", 37, 29, 16, bmp_rows(r >> 3 << 11 | g >> 2 << 5 | b >> 3, "<u2"), 3, masks)
    raw_bmp("rgbx32.bmp", 37, 29, 32, bmp_rows(r << 16 | g << 8 | b, "<u4"))
    masks = struct.pack("<IIII", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    raw_bmp("masked32.bmp", 37, 29, 32, bmp_rows(b << 16 | g << 8 | r | 7 << 24, "<u4"), 3, masks, header=108)
    table = np.pad(picture(16, 1, 3, seed=5)[0], ((0, 0), (0, 1))).tobytes()
    index = picture(36, 29, 1)[:, :, 0] >> 4
    raw_bmp("palette4.bmp", 36, 29, 4, bmp_rows(index[:, ::2] << 4 | index[:, 1::2], np.uint8), table=table)
    rle = b""
    for row in index[::-1]:
        at = 0
        while at < len(row):
            run = 1
            while at + run < len(row) and row[at + run] == row[at] and run < 255:
                run += 1
            rle += bytes([run, row[at]])
            at += run
        rle += b"\0\0"
    raw_bmp("rle8.bmp", 36, 29, 8, rle + b"\0\1", 1, table=table)


def make_webp():
    save("lossy.webp", rgb(173, 131), quality=85)
    save("lossy_alpha.webp", rgba(61, 43), quality=85, exact=True)
    save("lossless.webp", rgb(61, 43), lossless=True)
    save("lossless_alpha.webp", rgba(61, 43), lossless=True, exact=True)
    save("one_pixel.webp", rgb(1, 1), quality=85)
    save("exif.webp", rgb(61, 43), quality=85, exif=exif(6))
    save("xmp_orientation.webp", rgb(61, 43), quality=85, xmp=XMP)
    frames = [rgba(61, 43), rgb(61, 43, seed=3).convert("RGBA")]
    save("animated.webp", frames[0], save_all=True, append_images=frames[1:], lossless=True, exact=True)
    frames = [rgb(61, 43), rgb(61, 43, seed=3)]
    save("animated_lossy.webp", frames[0], save_all=True, append_images=frames[1:], quality=80)


# ---- TIFF ------------------------------------------------------------------------------------


def raw_tiff(name, width, height, tags, data, big_endian=False, tiles=None):
    """A TIFF of one directory. Values are shorts, or longs where they need to be."""
    order = ">" if big_endian else "<"
    chunks = data if isinstance(data, list) else [data]
    entries = {256: width, 257: height, 259: 1, **tags}
    if tiles:
        entries |= {322: tiles[0], 323: tiles[1], 324: [0] * len(chunks), 325: [len(c) for c in chunks]}
    else:
        entries |= {273: [0] * len(chunks), 278: height, 279: [len(c) for c in chunks]}
    offset_tag = 324 if tiles else 273
    at = 8 + 2 + 12 * len(entries) + 4
    extra = b""

    def is_long(tag, values):
        return tag in (offset_tag, offset_tag + 1, 279) or max(values) > 0xFFFF

    sizes = {}
    for tag, values in sorted(entries.items()):
        values = values if isinstance(values, list) else [values]
        size = len(values) * (4 if is_long(tag, values) else 2)
        if size > 4:
            sizes[tag] = at + sum(sizes_of for _, sizes_of in sizes.values()), size
    data_at = at + sum(size for _, size in sizes.values())
    offsets = [data_at + sum(len(c) for c in chunks[:i]) for i in range(len(chunks))]
    directory = struct.pack(order + "H", len(entries))
    for tag, values in sorted(entries.items()):
        values = offsets if tag == offset_tag else values if isinstance(values, list) else [values]
        long = is_long(tag, values)
        packed = struct.pack(order + ("I" if long else "H") * len(values), *values)
        directory += struct.pack(order + "HHI", tag, 4 if long else 3, len(values))
        if tag in sizes:
            directory += struct.pack(order + "I", sizes[tag][0])
            extra += packed
        else:
            directory += packed.ljust(4, b"\0")
    head = (b"MM\0*" if big_endian else b"II*\0") + struct.pack(order + "I", 8)
    (OUT / name).write_bytes(head + directory + b"\0\0\0\0" + extra + b"".join(chunks))


def make_tiff():
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
        save(f"{compression.removeprefix('tiff_')}.tiff", rgb(), compression=compression)
    save("lzw_predictor.tiff", rgb(), compression="tiff_lzw", tiffinfo={317: 2})
    save("grey8.tiff", grey())
    save("one_bit.tiff", grey().convert("1"))
    save("one_bit_group4.tiff", grey().convert("1"), compression="group4")
    save("grey_float.tiff", grey(7, 5).convert("F"))
    save("unsupported_lab.tiff", Image.fromarray(picture(7, 5), "LAB"))
    save("rgba8.tiff", rgba(), compression="tiff_lzw")
    save("palette8.tiff", palette())
    save("palette8_lzw.tiff", palette(), compression="tiff_lzw")
    index = picture(36, 29, 1)[:, :, 0] >> 4
    colour_map = [int(v) * 257 for v in picture(16, 1, 3, seed=5)[0].T.reshape(-1)]
    for big_endian in (False, True):
        tags = {258: 4, 262: 3, 277: 1, 320: colour_map}
        data = (index[:, ::2] << 4 | index[:, 1::2]).tobytes()
        raw_tiff(f"palette4_{'be' if big_endian else 'le'}.tiff", 36, 29, tags, data, big_endian)
    tags = {258: [8, 8], 262: 1, 277: 2, 338: 2}
    raw_tiff("grey_alpha8.tiff", 23, 19, tags, picture(23, 19, 2).tobytes())
    save("cmyk.tiff", Image.fromarray(picture(37, 29, 4), "CMYK"), compression="tiff_lzw")
    wide = picture(23, 19, 4).astype(np.uint16) * 257 ^ picture(23, 19, 4, seed=1)
    grey16 = np.where(np.arange(23)[None, :] % 2, wide[:, :, 0] >> 8, wide[:, :, 0])
    for big_endian in (False, True):
        order, suffix = (">u2", "be") if big_endian else ("<u2", "le")
        tags = {258: 16, 262: 1, 277: 1}
        raw_tiff(f"grey16_{suffix}.tiff", 23, 19, tags, grey16.astype(order).tobytes(), big_endian)
        tags = {258: [16] * 3, 262: 2, 277: 3}
        raw_tiff(f"rgb16_{suffix}.tiff", 23, 19, tags, wide[:, :, :3].astype(order).tobytes(), big_endian)
    tags = {258: 16, 262: 0, 277: 1}
    raw_tiff("grey16_white_is_zero.tiff", 23, 19, tags, grey16.astype("<u2").tobytes())
    raw_tiff("grey8_white_is_zero.tiff", 23, 19, {258: 8, 262: 0, 277: 1}, picture(23, 19, 1).tobytes())
    levels = picture(36, 29, 1)[:, :, 0] >> 4
    raw_tiff("grey4.tiff", 36, 29, {258: 4, 262: 1, 277: 1}, (levels[:, ::2] << 4 | levels[:, 1::2]).tobytes())
    pixels = np.asarray(rgba(23, 19))
    for name, extra in (("associated", 1), ("unassociated", 2)):
        tags = {258: [8] * 4, 262: 2, 277: 4, 338: extra}
        raw_tiff(f"rgba8_{name}.tiff", 23, 19, tags, pixels.tobytes())
    tags = {258: [16] * 4, 262: 2, 277: 4, 338: 2}
    raw_tiff("rgba16.tiff", 23, 19, tags, wide.astype("<u2").tobytes())
    tags = {258: [8] * 3, 262: 2, 277: 3, 284: 2}
    raw_tiff("planar.tiff", 23, 19, tags, [picture(23, 19)[:, :, c].tobytes() for c in range(3)])
    padded = np.zeros((32, 48, 3), np.uint8)
    padded[:29, :37] = picture(37, 29)
    tiles = [padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16, 32)]
    raw_tiff("tiled.tiff", 37, 29, {258: [8] * 3, 262: 2, 277: 3}, tiles, tiles=(16, 16))


def make_orientations():
    for orientation in range(1, 9):
        save(f"orientation_{orientation}.png", rgb(13, 7), exif=exif(orientation))
        tags = {258: [8] * 3, 262: 2, 277: 3, 274: orientation}
        raw_tiff(f"orientation_{orientation}.tiff", 13, 7, tags, picture(13, 7).tobytes())
    for orientation in range(1, 9):
        save(f"orientation_{orientation}.jpg", rgb(29, 21), quality=90, exif=exif(orientation))
        save(f"orientation_{orientation}.webp", rgb(13, 7), lossless=True, exif=exif(orientation))


# ---- What Pillow and transformers make of them -----------------------------------------------


def checksum(array):
    return f"{zlib.crc32(np.ascontiguousarray(array).tobytes()):08x}"


def versions():
    return {"pillow": PIL.__version__, "transformers": transformers.__version__}


def write_json(name, rows):
    lines = ",\n".join("  " + json.dumps(row) for row in rows)
    text = json.dumps({"versions": versions()})[:-1] + ', "cases": [\n' + lines + "\n]}\n"
    (OUT / name).write_text(text)


def record_decoding():
    rows, written = [], {}
    for path in sorted(OUT.iterdir()):
        if path.name.startswith("unsupported_"):
            continue
        pixels = np.asarray(load_image(str(path)))
        crc = checksum(pixels)
        # Many files hold the same picture: its pixels are kept once.
        expected = written.setdefault((crc, pixels.shape), path.name + ".expected.png")
        height, width, _ = pixels.shape
        rows.append({"file": path.name, "width": width, "height": height, "crc32": crc, "expected": expected})
    for row in rows:
        if row["expected"] == row["file"] + ".expected.png":
            image = Image.fromarray(np.asarray(load_image(str(OUT / row["file"]))))
            image.save(OUT / row["expected"], optimize=True)
    write_json("decode.json", rows)


def laid_over(image, level):
    """As transformers' `CLIPImageProcessorPil` lays an image with alpha over white."""
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, (level,) * 3), image).convert("RGB")


def record_options():
    """What PIL makes of files by other choices than `load_image`'s."""
    rows = []

    def record(path, image, orientation, alpha):
        pixels = np.asarray(image)
        row = {"file": path.name, "orientation": orientation, "alpha": alpha}
        row |= {"width": image.width, "height": image.height, "row_crc32": "".join(checksum(line) for line in pixels)}
        rows.append(row)

    for path in sorted(OUT.iterdir()):
        if path.name.startswith("unsupported_") or path.name.endswith((".expected.png", ".json")):
            continue
        if "orientation_" in path.name or "exif" in path.name or path.name == "xmp_orientation.png":
            with Image.open(path) as image:
                record(path, image.convert("RGB"), "ignore", "drop")
        with Image.open(path) as image:
            # Of 16-bit grey, PIL loses the colour key when it converts it.
            if image.has_transparency_data and image.mode != "I;16":
                for name, level in (("white", 255), ("black", 0)):
                    record(path, laid_over(ImageOps.exif_transpose(image), level), "exif", name)
    write_json("options.json", rows)


def pattern(width, height):
    """Pixels that the test makes by the same rule, so that they need no file."""
    i = np.arange(width * height * 3, dtype=np.uint64)
    hashed = (i * 2654435761) % 2**32
    return ((hashed >> 13) & 0xFF).astype(np.uint8).reshape(height, width, 3)


SIZES = [
    (1, 1), (1, 2), (2, 1), (2, 640), (640, 2), (777, 9), (9, 777), (3, 5), (17, 17), (223, 223),
    (224, 224), (225, 225), (224, 500), (500, 224), (224, 225), (225, 224), (100, 101), (301, 300),
    (447, 1001), (1001, 447), (640, 480), (480, 640), (333, 2000), (2000, 333), (449, 448), (4, 1300),
    (1300, 4), (1023, 769), (513, 1111), (300, 1100), (250, 303),
]  # fmt: skip


def resize_and_crop(width, height, size):
    image = Image.fromarray(pattern(width, height))
    long = size * max(width, height) // min(width, height)
    resized = (size, long) if width <= height else (long, size)
    image = image.resize(resized, Image.Resampling.BICUBIC)
    left, top = (resized[0] - size) // 2, (resized[1] - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def record_resizing():
    """Of small results the pixels, one below the other; of large ones a checksum a row."""
    rows, stack = [], []
    for width, height in SIZES:
        stack.append(resize_and_crop(width, height, 32))
        rows.append({"size": 32, "width": width, "height": height})
    Image.fromarray(np.vstack(stack)).save(OUT / "resize_32.expected.png", optimize=True)
    for size, sizes in ((224, SIZES), (255, SIZES[::3]), (336, SIZES[1::3])):
        for width, height in sizes:
            pixels = resize_and_crop(width, height, size)
            sums = "".join(checksum(row) for row in pixels)
            rows.append({"size": size, "width": width, "height": height, "row_crc32": sums})
    write_json("resize.json", rows)


def record_pixel_values():
    rows = []
    processor = CLIPImageProcessorPil()
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    big = {"size": {"shortest_edge": 336}, "crop_size": {"height": 336, "width": 336}}
    cases = [
        ("rgb8.png", {}), ("rgba8.png", half), ("grey16.png", {}), ("palette8_trns.png", {}),
        ("orientation_6.png", {}), ("rgb24.bmp", big), ("offset_transparent.gif", {}),
        ("cmyk.tiff", {}), ("lossless_alpha.webp", {}), ("lossy.webp", big | half),
    ]  # fmt: skip
    for name, options in cases:
        # A new image without `info`: where that kept a colour key from the file, transformers 5.23
        # puts white in place of the key, though `load_image` has dropped alpha by then.
        image = Image.fromarray(np.asarray(load_image(str(OUT / name))))
        values = processor(image, return_tensors="np", **options)["pixel_values"][0]
        values = np.asarray(values, dtype="<f4")
        size = values.shape[-1]
        at = [(c, y, x) for c in range(3) for y in (0, size // 3, size - 1) for x in (0, size // 2, size - 1)]
        rows.append(
            {
                "file": name,
                "size": size,
                "mean": options.get("image_mean", processor.image_mean),
                "std": options.get("image_std", processor.image_std),
                "crc32": checksum(values),
                "samples": [[c, y, x, float(values[c, y, x])] for c, y, x in at],
            }
        )
    write_json("pixel_values.json", rows)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    for make in (make_png, make_jpeg, make_gif, make_bmp, make_webp, make_tiff, make_orientations):
        make()
    record_decoding()
    record_options()
    record_resizing()
    record_pixel_values()
    total = sum(path.stat().st_size for path in OUT.iterdir())
    print(f"{len(list(OUT.iterdir()))} files, {total} bytes")
