"""Makes the TIFF fixtures, byte by byte: see images.py."""

import struct

import numpy as np
from PIL import Image

from image_files import OUT, grey, palette, picture, rgb, rgba, save


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


def make_tiff_orientations():
    for orientation in range(1, 9):
        tags = {258: [8] * 3, 262: 2, 277: 3, 274: orientation}
        raw_tiff(f"orientation_{orientation}.tiff", 13, 7, tags, picture(13, 7).tobytes())
