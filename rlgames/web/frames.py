"""Frames of a running game, as the server sends them to the page.

A frame is the length of a JSON header (4 bytes, little-endian), the header, and the arrays that it describes by offset
and length: the picture as PNG, the observation and the saliency as they lie in memory.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
from PIL import Image


def encode_frame(facts: dict[str, Any], picture: np.ndarray, arrays: dict[str, np.ndarray | None]) -> bytes:
    """Return a frame of plain facts, a picture (height, width, 3) uint8, and named arrays."""
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG", compress_level=1)
    parts = {"picture": png.getvalue()}
    described: dict[str, Any] = {"picture": {"size": list(picture.shape[1::-1])}}
    for name, array in arrays.items():
        if array is not None:
            sent = np.ascontiguousarray(array, np.uint8 if array.dtype == np.uint8 else "<f4")
            parts[name] = sent.tobytes()
            described[name] = {"shape": list(sent.shape), "dtype": str(sent.dtype)}
    offset = 0
    for name, content in parts.items():
        described[name] |= {"offset": offset, "length": len(content)}
        offset += -(-len(content) // 4) * 4  # floats begin at multiples of four
    header = json.dumps({**facts, "parts": described}).encode()
    header += b" " * (-len(header) % 4)
    body = b"".join(content + bytes(-len(content) % 4) for content in parts.values())
    return len(header).to_bytes(4, "little") + header + body
