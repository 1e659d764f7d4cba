"""Checkpoint files: written whole or not at all, checked byte for byte when read, free of pickle.

A checkpoint is an uncompressed zip file:

    header.json            plain JSON, read without the rest
    state.json             structure of the state: its dictionaries, lists, numbers and strings
    tensors.safetensors    its torch tensors, named by their path, such as state['net']['0.weight']
    arrays/0.npy ...       its numpy arrays and scalars
    manifest.json          format number and sha256 of each member above

and the zip's comment holds the format number again and the sha256 of the manifest; `encoding` has the details. A part
of the state that is large and does not change any more may be in another checkpoint of the same folder, which this one
then names together with the sha256 of its manifest: see `FilePart`.

Reading executes nothing. The digests detect accidental damage; they are not a signature.
Tensors: https://github.com/huggingface/safetensors. Arrays: numpy.lib.format.
"""

import dataclasses
import hashlib
import json
import os
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch

from rlgames.checkpoint.encoding import ConcatenatedArray, Encoder, FilePart, Tree, decode, dense, to_json, write_npy
from rlgames.errors import InvalidTypeError, UsageError

FORMAT = 1
HEADER, STATE, TENSORS, MANIFEST = "header.json", "state.json", "tensors.safetensors", "manifest.json"


class CheckpointError(UsageError, ValueError):
    """A file that cannot be read as a checkpoint; the message is one line: the file, the problem, the remedy."""


def save(path: str | os.PathLike[str], header: Mapping[str, Any], state: Tree) -> str:
    """Write `header` and `state` to `path`, replacing an existing file once the new one is safely on the disk.

    Interrupted at any moment, by an exception, kill -9 or a power cut, it leaves the old file or the new one. Temporary
    files of a killed writer (".name.*.partial") are removed by the next save. One writer per path at a time: of two at
    once one may fail with FileNotFoundError, without damage. The same content gives the same bytes.

    Returns the sha256 of the manifest, by which another checkpoint can name this one as a part. Raises TypeError,
    naming the path in the tree, for a value that could not be restored as it is, before any file is touched; OSError if
    writing fails.
    """
    path = Path(path)
    encoder = Encoder(path.parent)
    members = {HEADER: _header_json(header), STATE: to_json(encoder.encode(state, "state"))}
    members |= {TENSORS: safetensors.torch.save(encoder.tensors), **encoder.arrays}

    stale = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.partial")
    for name in filter(stale.fullmatch, os.listdir(path.parent)):
        path.with_name(name).unlink(missing_ok=True)

    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                digests = {name: _write(archive, name, content) for name, content in members.items()}
                digest = _write(archive, MANIFEST, to_json({"format": FORMAT, "members": digests}))
                archive.comment = f"rlgames checkpoint format {FORMAT}, manifest sha256 {digest}".encode()
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":  # on Windows a folder cannot be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # so that the new name survives a power cut, too
        finally:
            os.close(folder)
    return digest


def load(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Any]:
    """Return header and state of `path`, each byte checked against its digest. Raises CheckpointError.

    Values, dtypes, shapes, key types, key order and tuples are restored as they were; tensors on the CPU, contiguous,
    each in memory of its own, without gradient; any kind of dict as a plain dict. Records keep their offsets, but not
    whether they were declared with align=True. Parts are checked, too, and returned as `FilePart`s: `resolve_parts`
    reads them.
    """
    with _reading(path) as member:
        tensors = member(TENSORS, lambda stream: safetensors.torch.load(stream.read()))
        state = decode(member(STATE, json.load), tensors, member, lambda name, sha256: _part(path, name, sha256))
        return member(HEADER, json.load), state


def resolve_parts(state: Any) -> Any:
    """Return `state` with every `FilePart` replaced by its content. Raises CheckpointError."""
    if isinstance(state, FilePart):
        with _reading(state.path, state.sha256):
            return load(state.path)[1]
    if isinstance(state, dict):
        return {key: resolve_parts(value) for key, value in state.items()}
    return type(state)(map(resolve_parts, state)) if type(state) in (list, tuple) else state


def read_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the header of `path` alone: the state is neither read nor checked. Raises CheckpointError."""
    with _reading(path) as member:
        return member(HEADER, json.load)


def weights_sha256(state_dict: Mapping[str, torch.Tensor]) -> str:
    """Return the hexadecimal sha256 over the tensors in order of their names, independent of device and layout.

    Each tensor adds the line `["name", "torch.float32", [rows, columns]]\\n`, as json.dumps writes it, and then the
    bytes of its elements in row-major order.
    """
    sha256 = hashlib.sha256()
    for name, tensor in sorted(state_dict.items()):
        sha256.update(to_json([name, str(tensor.dtype), list(tensor.shape)]) + b"\n")
        sha256.update(dense(tensor).reshape(-1).view(torch.uint8).numpy().data)
    return sha256.hexdigest()


# ---- writing ----


def _header_json(header: Mapping[str, Any]) -> bytes:
    for key, value in header.items():
        try:
            if json.loads(to_json({key: value})) != {key: value}:
                raise ValueError("JSON would alter it")
        except (TypeError, ValueError) as error:
            remedy = "use str keys, lists for tuples, None for nan"
            raise InvalidTypeError(f"header[{key!r}]: {value!r:.80} is not plain JSON ({error}): {remedy}") from error
    return to_json(dict(header))


class _HashingStream:
    """Passes on what is written and computes its sha256."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream, self.sha256 = stream, hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.sha256.update(data)
        self.stream.write(data)


def _write(archive: zipfile.ZipFile, name: str, content: bytes | np.ndarray | ConcatenatedArray) -> str:
    """Add a member and return its sha256. ZipInfo's default date, 1980, makes equal content equal bytes."""
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
        hashed = _HashingStream(stream)
        if isinstance(content, bytes):
            hashed.write(content)
        else:
            write_npy(hashed, content)
    return hashed.sha256.hexdigest()


# ---- reading ----


class _Members:
    """Members of an open checkpoint, each checked against its digest before it is parsed."""

    def __init__(self, archive: zipfile.ZipFile, manifest_sha256: str) -> None:
        self.archive = archive
        self.digests = {MANIFEST: manifest_sha256}
        self.digests |= self(MANIFEST, json.load)["members"]

    def __call__(self, name: str, parse: Callable[[IO[bytes]], Any]) -> Any:
        with self.archive.open(name) as stream:
            sha256 = hashlib.sha256()
            while block := stream.read(2**20):
                sha256.update(block)
            if sha256.hexdigest() != self.digests[name]:
                raise ValueError(f"{name} does not match its sha256")
            stream.seek(0)
            return parse(stream)


@contextmanager
def _reading(path: str | os.PathLike[str], sha256: str | None = None) -> Iterator[_Members]:
    """Open `path` and check its manifest, against `sha256` if given."""
    try:
        with zipfile.ZipFile(path) as archive:
            comment = re.match(rb"rlgames checkpoint format (\d+), manifest sha256 ", archive.comment)
            if comment is None and MANIFEST not in archive.namelist():
                kind = "another kind of zip file (such as PyTorch's .pt)"
                raise CheckpointError(f"{path}: is {kind}: expected a file written by rlgames")
            if comment and int(comment[1]) > FORMAT:
                found = f"format {int(comment[1])}, this one reads up to {FORMAT}"
                raise CheckpointError(f"{path}: was written by a newer rlgames ({found}): upgrade rlgames")
            if (
                comment is None or archive.getinfo(HEADER).header_offset != 0
            ):  # or a checkpoint inside a checkpoint's array
                raise ValueError("its first or last bytes do not belong to it")
            digest = archive.comment[comment.end() :].decode()
            if sha256 not in (None, digest):
                raise ValueError("it is not the file that was saved")
            yield _Members(archive, digest)
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # a damaged zip file raises nearly anything: KeyError, zlib.error, NotImplementedError
        raise CheckpointError(f"{path}: {_reason(path, error)}") from error


def _part(path: str | os.PathLike[str], name: str, sha256: str) -> FilePart:
    """Return the part of the checkpoint `path` in the file `name`, each byte checked but nothing kept."""
    part = FilePart(Path(path).parent / Path(name).name, sha256)
    try:
        with _reading(part.path, sha256) as member:
            for each in member.digests:
                member(each, lambda _: None)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: its part {error}") from error
    return part


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    """Return the problem of the file that raised `error`, and the remedy, in one line."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file: check the path"
    if os.path.isdir(path):
        return "is a folder: give the checkpoint file in it"
    if isinstance(error, PermissionError):
        return "cannot be read by this user: change its permissions"
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        return "is empty: use another checkpoint"
    if not b"PK\3\4".startswith(start):
        return "is not a checkpoint: expected a file written by rlgames"
    reason = " ".join(str(error).split())
    return f"is damaged or cut short ({type(error).__name__}: {reason}): copy it again, or use another checkpoint"


def config_to_json(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
