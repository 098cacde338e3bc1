"""Makes the image fixtures that are not TIFFs: see images.py."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

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


def make_orientations():
    for orientation in range(1, 9):
        save(f"orientation_{orientation}.png", rgb(13, 7), exif=exif(orientation))
    for orientation in range(1, 9):
        save(f"orientation_{orientation}.jpg", rgb(29, 21), quality=90, exif=exif(orientation))
        save(f"orientation_{orientation}.webp", rgb(13, 7), lossless=True, exif=exif(orientation))
