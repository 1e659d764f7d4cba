"""Encode states for a checkpoint: JSON for their structure, torch tensors and numpy arrays apart; and decode them.

In the JSON a list is a list; types that JSON lacks are objects with one key: {"dict": [[key, value], ...]},
{"tuple": [...]}, {"int": "0x..."} from 2**53 on, {"float": "nan"}, {"tensor": name}, {"array": member},
{"scalar": member} and {"part": [file, sha256]}. Each tensor, member and part is named once. Arrays are .npy files
(numpy.lib.format) without pickle.
"""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Never, TypeAlias

import numpy as np
import torch

from rlgames.errors import InvalidTypeError

NPY_VERSION = (3, 0)  # the .npy header that takes any field name and any length
NPY_HEADER_LIMIT = 2**16  # bytes: records of some thousand fields
NPY_HEADER = re.compile(
    r"\{'descr': (?P<descr>.+), 'fortran_order': (?P<order>True|False), 'shape': \((?P<shape>[0-9, ]*)\), \} *\n"
)
LITERAL = re.compile(r"""([\[\](), 0-9]|'([^'\\]|\\.)*+'|"([^"\\]|\\.)*+")++""")  # strings, numbers, lists and tuples
EMPTY_LIMIT = 2**24  # elements of an array whose elements have no bytes: the file's size does not bound them
BLOCK = 2**20  # bytes that are read at once
TENSOR_DTYPES = {  # those that safetensors both writes and reads
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
}


class ConcatenatedArray:
    """Arrays that are saved as one, concatenated along the first axis, without concatenating them in memory.

    `arrays`: at least one, each C-contiguous, all of one dtype and of one shape after the first axis. It is loaded as
    one array.
    """

    def __init__(self, arrays: Sequence[np.ndarray]):
        self.arrays, self.dtype = arrays, arrays[0].dtype
        self.shape = (sum(map(len, arrays)), *arrays[0].shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.concatenate(self.arrays, dtype=dtype)


@dataclass(frozen=True)
class FilePart:
    """A subtree that is in a checkpoint of its own, in the folder of the one that names it."""

    path: Path
    sha256: str  # of its manifest


Leaf: TypeAlias = (
    torch.Tensor | np.ndarray | np.generic | ConcatenatedArray | FilePart | int | float | bool | str | None
)
Tree: TypeAlias = Mapping[Any, "Tree"] | Sequence["Tree"] | Leaf  # dicts (with str or int keys), lists and tuples
Parser: TypeAlias = Callable[[IO[bytes], int], Any]  # (stream, bytes in it) -> the content
Member: TypeAlias = Callable[[str, Parser], Any]  # (name, parser) -> the parser's result


# ---- encoding ----


@dataclass
class Encoder:
    """Turns trees into JSON, and collects their tensors by path and their arrays by member."""

    folder: Path  # of the checkpoint, and of its parts
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    arrays: dict[str, np.ndarray | ConcatenatedArray] = field(default_factory=dict)

    def encode(self, node: Any, where: str) -> Any:
        """Return JSON for `node` at the path `where`. Raises TypeError for what could not be restored as it is."""
        if isinstance(node, dict):
            for key in node:
                if type(key) not in (str, int):
                    raise InvalidTypeError(
                        f"{where}: cannot save the key {key!r} of type {type(key).__name__}: use str or int"
                    )
            return {"dict": [[self.encode(key, ""), self.encode(node[key], f"{where}[{key!r}]")] for key in node]}
        if type(node) in (list, tuple):
            items = [self.encode(item, f"{where}[{i}]") for i, item in enumerate(node)]
            return items if type(node) is list else {"tuple": items}
        if isinstance(node, torch.Tensor):
            if node.layout != torch.strided or node.device.type == "meta" or node.dtype not in TENSOR_DTYPES:
                kind = f"{node.dtype}, {node.layout}, on {node.device}"
                raise InvalidTypeError(f"{where}: cannot save a tensor of {kind}: use a dense one of a common dtype")
            self.tensors[where] = dense(node)
            return {"tensor": where}
        if type(node) is np.ndarray or isinstance(node, np.generic):
            if not npy_preserves(node):
                raise InvalidTypeError(
                    f"{where}: cannot save {node.dtype!r} exactly and without pickle: use numbers or str"
                )
            return {"array" if isinstance(node, np.ndarray) else "scalar": self.add(zero_padding(np.asarray(node)))}
        if isinstance(node, ConcatenatedArray):
            return {"array": self.add(node)}
        if isinstance(node, FilePart):
            if node.path.parent.absolute() != self.folder.absolute():
                raise InvalidTypeError(
                    f"{where}: cannot save a part in the folder of {node.path}: use resolve_parts(state)"
                )
            return {"part": [node.path.name, node.sha256]}
        return scalar(node, where)

    def add(self, array: np.ndarray | ConcatenatedArray) -> str:
        member = f"arrays/{len(self.arrays)}.npy"
        self.arrays[member] = array
        return member


def scalar(node: Any, where: str) -> Any:
    if type(node) is int:  # JSON's numbers are exact up to 2**53 in every reader
        return node if abs(node) < 2**53 else {"int": hex(node)}
    if type(node) is float:
        return node if math.isfinite(node) else {"float": str(node)}
    if node is None or type(node) in (bool, str):
        return node
    leaves = "tensors, numpy arrays, numbers, strings and None"
    raise InvalidTypeError(
        f"{where}: cannot save a value of type {type(node).__name__}: use dicts, lists, tuples of {leaves}"
    )


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """Return a contiguous copy on the CPU in memory of its own: safetensors refuses views and shared memory."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def npy_preserves(values: np.ndarray | np.generic) -> bool:
    if values.dtype.hasobject or (isinstance(values, np.character) and np.asarray(values)[()] != values):
        return False  # the second: arrays drop trailing NULs of strings
    try:
        return np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(values.dtype)) == values.dtype
    except ValueError:  # fields overlap
        return False


def zero_padding(array: np.ndarray) -> np.ndarray:
    """Return `array` with zeros in the padding of its records, which numpy leaves uninitialized."""
    if array.dtype.names is None:
        return array
    clean = np.zeros(array.shape, array.dtype, order="F" if array.flags.fnc else "C")
    clean[...] = array
    return clean


def to_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


def write_npy(stream: Any, array: np.ndarray | ConcatenatedArray) -> None:
    """Write an array in pieces: a replay buffer may be larger than the free memory."""
    if isinstance(array, np.ndarray):
        np.lib.format.write_array(stream, array, NPY_VERSION, allow_pickle=False)
        return
    about, header = {"descr": np.lib.format.dtype_to_descr(array.dtype)}, BytesIO()
    np.lib.format.write_array_header_2_0(header, about | {"fortran_order": False, "shape": array.shape})
    magic = np.lib.format.magic(*NPY_VERSION)  # without field names 2.0 and 3.0 differ in nothing else
    stream.write(magic + header.getvalue()[len(magic) :])
    for each in array.arrays:
        if each.size:
            stream.write(each.reshape(-1).view(np.uint8).data)


# ---- decoding ----


def decode(node: Any, tensors: dict[str, torch.Tensor], member: Member, part: Callable[[str, str], FilePart]) -> Any:
    """Invert `encode`, and take from `tensors` what is used; `part` returns the part of a file's name and digest."""
    if isinstance(node, list):
        return [decode(item, tensors, member, part) for item in node]
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind == "dict":
        return {decode(key, tensors, member, part): decode(value, tensors, member, part) for key, value in content}
    if kind == "tuple":
        return tuple(decode(content, tensors, member, part))
    if kind == "tensor":
        return tensors.pop(content)
    if kind in ("array", "scalar"):
        array = member(content, read_npy)
        return array if kind == "array" else array[()]
    if kind == "part":
        return part(*content)
    return {"int": lambda digits: int(digits, 16), "float": float}[kind](content)


def read_json(stream: IO[bytes], _: int) -> Any:
    """Parse JSON without NaN and infinities, which Python would read."""
    return json.loads(stream.read(), parse_constant=refuse_constant)


def refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def read_npy(stream: IO[bytes], nbytes: int) -> np.ndarray:
    """Read an array of a member of `nbytes` bytes, which bound the memory that it takes."""
    dtype, fortran_order, shape = read_npy_header(stream)
    count = math.prod(shape)
    if count * dtype.itemsize != nbytes - stream.tell() or (dtype.itemsize == 0 and count > EMPTY_LIMIT):
        raise ValueError(f"an array of shape {shape} and {dtype} is declared, {nbytes} bytes are there")
    flat, filled = np.empty(count * dtype.itemsize, np.uint8), 0
    while filled < len(flat):  # in blocks: a second copy of a replay buffer may not fit into the memory
        block = np.frombuffer(stream.read(BLOCK), np.uint8)
        flat[filled : filled + len(block)] = block
        filled += len(block)
    array = flat.view(dtype) if dtype.itemsize else np.empty(count, dtype)
    return zero_padding(array.reshape(shape, order="F" if fortran_order else "C"))


def read_npy_header(stream: IO[bytes]) -> tuple[np.dtype, bool, tuple[int, ...]]:
    """Read the header that `write_npy` wrote: dtype, order and shape.

    numpy evaluates a header as Python's literals, of any size that the caller admits; this admits some kB and no other
    form.
    """
    if np.lib.format.read_magic(stream) != NPY_VERSION:
        raise ValueError(f"expected an array in version {NPY_VERSION} of numpy's format")
    length = int.from_bytes(stream.read(4), "little")
    if length > NPY_HEADER_LIMIT:
        raise ValueError(f"an array's header has {length} bytes, expected at most {NPY_HEADER_LIMIT}")
    header = NPY_HEADER.fullmatch(stream.read(length).decode())
    if header is None or not LITERAL.fullmatch(header["descr"]):
        raise ValueError("the header of an array is not as numpy writes it")
    try:
        dtype = np.lib.format.descr_to_dtype(ast.literal_eval(header["descr"]))
    except (MemoryError, RecursionError) as error:  # of Python's parser: it is nested too deeply
        raise ValueError("the header of an array is not as numpy writes it") from error
    if dtype.hasobject:
        raise ValueError("an array of Python objects is not read")
    return dtype, header["order"] == "True", tuple(map(int, re.findall(r"\d+", header["shape"])))
