"""One file that holds a run: written whole or not at all, checked byte for byte when read, free of pickle.

A checkpoint is an uncompressed zip file:

    header.json            what is asked first: plain JSON, read without the rest
    state.json             the shape of the state: its dictionaries, lists, numbers and strings
    tensors.safetensors    its torch tensors, named by their place, such as state['net']['0.weight']
    arrays/0.npy ...       its numpy arrays and scalars
    manifest.json          the format's number and the sha256 of each member above

and the zip's comment holds the format's number again and the manifest's sha256. In state.json a list is a list; what
JSON lacks is an object with one key: {"dict": [[key, value], ...]}, {"tuple": [...]}, {"int": "0x..."} from 2**53 on,
{"float": "nan"}, {"tensor": name}, {"array": member} and {"scalar": member}.

Reading executes nothing, whoever wrote the file. The digests find accidents; they are no signature.
Tensors: https://github.com/huggingface/safetensors. Arrays: numpy.lib.format.
"""

import dataclasses
import hashlib
import json
import math
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import safetensors.torch
import torch

FORMAT = 1
HEADER, STATE, TENSORS, MANIFEST = "header.json", "state.json", "tensors.safetensors", "manifest.json"
NPY_VERSION = (3, 0)  # the .npy header that takes any field name and any length
NPY_HEADER_LIMIT = 2**20  # bytes; numpy's own limit of 10,000 refuses records of some hundred fields
TENSOR_DTYPES = {  # those that safetensors both writes and reads
    *(torch.bool, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64),
    *(torch.float8_e4m3fn, torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz),
}

Leaf: TypeAlias = torch.Tensor | np.ndarray | np.generic | int | float | bool | str | None
Tree: TypeAlias = Mapping[Any, "Tree"] | Sequence["Tree"] | Leaf  # dicts (with str or int keys), lists and tuples
Member: TypeAlias = Callable[[str, Callable[[IO[bytes]], Any]], Any]  # (name, parser) -> what the parser made of it


class CheckpointError(ValueError):
    """A file that cannot be read as a checkpoint; the message is one line: which file, what is wrong, what to do."""


def save(path: str | os.PathLike[str], header: Mapping[str, Any], state: Tree) -> None:
    """Write `header` and `state` to `path`, replacing what is there once the new file is safely on the disk.

    Stopped at any moment, by an exception, kill -9 or a power cut, it leaves the old file or the new one. What a killed
    writer leaves beside it (".name.*.partial") goes with the next save. One writer per path at a time: of two at once
    one may fail with FileNotFoundError, without damage. The same content gives the same bytes.

    Raises TypeError, naming the place in the tree, for what could not come back as it is, before any file is touched;
    OSError if the disk refuses.
    """
    tensors: dict[str, torch.Tensor] = {}
    arrays: dict[str, np.ndarray] = {}
    members = {HEADER: _header_json(header), STATE: _json(_encode(state, "state", tensors, arrays))}
    members |= {TENSORS: safetensors.torch.save(tensors), **arrays}

    path = Path(path)
    stale = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.partial")
    for name in filter(stale.fullmatch, os.listdir(path.parent)):
        path.with_name(name).unlink(missing_ok=True)

    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                digests = {name: _write(archive, name, content) for name, content in members.items()}
                digest = _write(archive, MANIFEST, _json({"format": FORMAT, "members": digests}))
                archive.comment = f"rlgames checkpoint format {FORMAT}, manifest sha256 {digest}".encode()
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too, survives a power cut
        finally:
            os.close(folder)


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Any]:
    """The header and the state of `path`, each byte checked against its digest. Raises CheckpointError.

    Values, dtypes, shapes, key types, key order and tuples come back as they were; tensors on the CPU, contiguous, each
    in memory of its own, without gradient; any kind of dict as a plain dict. Records keep their offsets; that they were
    declared with align=True is not kept.
    """
    with _reading(path) as member:
        tensors = member(TENSORS, lambda stream: safetensors.torch.load(stream.read()))
        return member(HEADER, json.load), _decode(member(STATE, json.load), tensors, member)


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of `path` alone: the state, however large, is neither read nor checked. Raises CheckpointError."""
    with _reading(path) as member:
        return member(HEADER, json.load)


def weights_sha256(state_dict: Mapping[str, torch.Tensor]) -> str:
    """Hexadecimal sha256 over the tensors in order of their names, the same on every device and in every layout.

    Each adds the line `["name", "torch.float32", [rows, columns]]\\n`, as json.dumps writes it, and then its elements'
    bytes in row-major order.
    """
    sha256 = hashlib.sha256()
    for name, tensor in sorted(state_dict.items()):
        sha256.update(_json([name, str(tensor.dtype), list(tensor.shape)]) + b"\n")
        sha256.update(_dense(tensor).reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


# ---- writing


def _header_json(header: Mapping[str, Any]) -> bytes:
    for key, value in header.items():
        try:
            if json.loads(_json({key: value})) != {key: value}:
                raise ValueError("JSON would alter it")
        except (TypeError, ValueError) as error:
            remedy = "use str keys, lists for tuples, None for nan"
            raise TypeError(f"header[{key!r}]: {value!r:.80} is not plain JSON ({error}): {remedy}") from error
    return _json(dict(header))


def _encode(node: Any, where: str, tensors: dict[str, torch.Tensor], arrays: dict[str, np.ndarray]) -> Any:
    """JSON for `node`, which stands at `where`; its tensors and arrays go into the two dictionaries."""
    if isinstance(node, dict):
        for key in node:
            if type(key) not in (str, int):
                raise TypeError(f"{where}: cannot save the key {key!r} of type {type(key).__name__}: use str or int")
        places = {key: f"{where}[{key!r}]" for key in node}
        return {"dict": [[_encode(k, "", {}, {}), _encode(node[k], places[k], tensors, arrays)] for k in node]}
    if type(node) in (list, tuple):
        items = [_encode(item, f"{where}[{i}]", tensors, arrays) for i, item in enumerate(node)]
        return items if type(node) is list else {"tuple": items}
    if isinstance(node, torch.Tensor):
        if node.layout != torch.strided or node.device.type == "meta" or node.dtype not in TENSOR_DTYPES:
            kind = f"{node.dtype}, {node.layout}, on {node.device}"
            raise TypeError(f"{where}: cannot save a tensor of {kind}: use a dense one of a common dtype")
        tensors[where] = _dense(node)
        return {"tensor": where}
    if type(node) is np.ndarray or isinstance(node, np.generic):
        member = f"arrays/{len(arrays)}.npy"
        arrays[member] = _without_gaps(np.asarray(node))
        if not _npy_keeps(node):
            raise TypeError(f"{where}: cannot save {node.dtype!r} exactly and without pickle: use numbers or str")
        return {"array" if isinstance(node, np.ndarray) else "scalar": member}
    if type(node) is int:  # JSON's numbers are exact up to 2**53 in every reader
        return node if abs(node) < 2**53 else {"int": hex(node)}
    if type(node) is float:
        return node if math.isfinite(node) else {"float": str(node)}
    if node is None or type(node) in (bool, str):
        return node
    leaves = "tensors, numpy arrays, numbers, strings and None"
    raise TypeError(f"{where}: cannot save a value of type {type(node).__name__}: use dicts, lists, tuples of {leaves}")


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """A contiguous copy on the CPU in memory of its own: safetensors refuses views and shared memory."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _npy_keeps(values: np.ndarray | np.generic) -> bool:
    if values.dtype.hasobject or (isinstance(values, np.character) and np.asarray(values)[()] != values):
        return False  # the second: arrays drop the NULs that end a string
    try:
        return np.lib.format.descr_to_dtype(np.lib.format.dtype_to_descr(values.dtype)) == values.dtype
    except ValueError:  # fields overlap
        return False


def _without_gaps(array: np.ndarray) -> np.ndarray:
    """`array` with zeros between the fields of its records, where numpy leaves whatever the memory held."""
    if array.dtype.names is None:
        return array
    clean = np.zeros(array.shape, array.dtype, order="F" if array.flags.fnc else "C")
    clean[...] = array
    return clean


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode("ascii")


class _Hashed:
    """Passes on what is written, and knows its sha256."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.sha256 = stream, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.sha256.update(data)
        self.stream.write(data)


def _write(archive: zipfile.ZipFile, name: str, content: bytes | np.ndarray) -> str:
    """Add one member and return its sha256. ZipInfo's own date, 1980, makes equal content equal bytes."""
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
        hashed = _Hashed(stream)
        if isinstance(content, bytes):
            hashed.write(content)
        else:  # in pieces: a replay memory may be larger than the memory that is free
            np.lib.format.write_array(hashed, content, NPY_VERSION, allow_pickle=False)
    return hashed.sha256.hexdigest()


# ---- reading


@contextmanager
def _reading(path: str | os.PathLike[str]) -> Iterator[Member]:
    """Open `path`, check its manifest, and give a function that checks one member and parses it."""
    try:
        with zipfile.ZipFile(path) as archive:
            comment = re.match(rb"rlgames checkpoint format (\d+), manifest sha256 ", archive.comment)
            if comment is None and MANIFEST not in archive.namelist():
                kind = "a zip file of another kind (PyTorch's .pt is one)"
                raise CheckpointError(f"{path}: is {kind}: give a file that rlgames wrote")
            if comment and int(comment[1]) > FORMAT:
                found = f"format {int(comment[1])}, this one reads up to {FORMAT}"
                raise CheckpointError(f"{path}: was written by a newer rlgames ({found}): upgrade rlgames")
            if comment is None or archive.getinfo(HEADER).header_offset != 0:  # or a checkpoint in a checkpoint's array
                raise ValueError("its first or last bytes are not its own")
            digest = archive.comment[comment.end() :].decode()
            digests = _checked(archive, MANIFEST, digest, json.load)["members"]
            yield lambda name, parse: _checked(archive, name, digests[name], parse)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a damaged zip file raises nearly anything: KeyError, zlib.error, NotImplementedError
        raise CheckpointError(f"{path}: {_complaint(path, error)}") from error


def _checked(archive: zipfile.ZipFile, name: str, digest: str, parse: Callable[[IO[bytes]], Any]) -> Any:
    with archive.open(name) as stream:
        sha256 = hashlib.sha256()
        while piece := stream.read(2**20):
            sha256.update(piece)
        if sha256.hexdigest() != digest:
            raise ValueError(f"{name} does not match its sha256")
        stream.seek(0)
        return parse(stream)


def _read_npy(stream: IO[bytes]) -> np.ndarray:
    return _without_gaps(np.lib.format.read_array(stream, allow_pickle=False, max_header_size=NPY_HEADER_LIMIT))


def _decode(node: Any, tensors: Mapping[str, torch.Tensor], member: Member) -> Any:
    """The inverse of `_encode`."""
    if isinstance(node, list):
        return [_decode(item, tensors, member) for item in node]
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind == "dict":
        return {_decode(key, tensors, member): _decode(value, tensors, member) for key, value in content}
    if kind == "tuple":
        return tuple(_decode(content, tensors, member))
    if kind == "tensor":
        return tensors[content]
    if kind in ("array", "scalar"):
        array = member(content, _read_npy)
        return array if kind == "array" else array[()]
    return {"int": lambda digits: int(digits, 16), "float": float}[kind](content)


def _complaint(path: str | os.PathLike[str], error: Exception) -> str:
    """What is wrong with the file that gave `error`, and what to do, in one line."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file: check the path"
    if os.path.isdir(path):
        return "is a folder: give the checkpoint file in it"
    if isinstance(error, PermissionError):
        return "must not be read by this user: change its permissions"
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        return "is empty: use another checkpoint"
    if not b"PK\3\4".startswith(start):
        return "does not begin as a checkpoint does: give a file that rlgames wrote"
    reason = " ".join(str(error).split())
    return f"is damaged or cut short ({type(error).__name__}: {reason}): copy it again, or use another checkpoint"


def plain(config: Any) -> dict[str, Any]:
    """A dataclass as JSON keeps it: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
