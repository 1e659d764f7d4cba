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

Reading executes nothing, whoever wrote the file, and takes memory in proportion to its size: members are stored, not
compressed, each is there and is used once, and declares no more than it has. The digests detect accidental damage; they
are not a signature. What a header names (agent, game, wrappers) is looked up among those that this process has
registered: see `Task.from_json`.
Tensors: https://github.com/huggingface/safetensors. Arrays: numpy.lib.format.
"""

import dataclasses
import hashlib
import json
import os
import re
import secrets
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import IO, Any

import numpy as np
import safetensors.torch
import torch

from rlgames.checkpoint.encoding import (
    ConcatenatedArray,
    Encoder,
    FilePart,
    Parser,
    Tree,
    decode,
    dense,
    read_json,
    to_json,
    write_npy,
)
from rlgames.errors import InvalidTypeError, UsageError

FORMAT = 1
HEADER, STATE, TENSORS, MANIFEST = "header.json", "state.json", "tensors.safetensors", "manifest.json"
PARTS = "parts"  # key in a header: names of the files that the checkpoint needs
HEADER_LIMIT = 2**20  # bytes of header.json
REASON_LIMIT = 200  # characters of an error that a file causes


class CheckpointError(UsageError, ValueError):
    """A file that cannot be read as a checkpoint; the message is one line: the file, the problem, the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(x if x.isprintable() else "?" for x in message))  # a file may have any name


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
    parts: set[str] = set()

    def part(name: str, sha256: str) -> FilePart:
        if name in parts:
            raise ValueError(f"the part {name} is named twice")
        parts.add(name)
        return _part(path, name, sha256)

    with _reading(path) as member:
        tensors = member(TENSORS, lambda stream, _: safetensors.torch.load(stream.read()))
        state = decode(member(STATE, read_json), tensors, member, part)
        return member(HEADER, _read_header), state


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
        return member(HEADER, _read_header)


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
    """Members of an open checkpoint of `size` bytes, each checked against its digest before it is parsed, once."""

    def __init__(self, archive: zipfile.ZipFile, size: int, manifest_sha256: str) -> None:
        self.archive, self.read = archive, set[str]()
        members = archive.infolist()
        if any(each.compress_type != zipfile.ZIP_STORED or each.compress_size != each.file_size for each in members):
            raise ValueError("a member is compressed")
        if sum(each.file_size for each in members) > size:
            raise ValueError("its members are larger than the file")
        self.digests = {MANIFEST: manifest_sha256}
        self.digests |= self(MANIFEST, read_json)["members"]
        if sorted(self.digests) != sorted(each.filename for each in members):  # the latter may name one twice
            raise ValueError("its members are not those of its manifest")

    def __call__(self, name: str, parse: Parser) -> Any:
        if name in self.read:
            raise ValueError(f"{name} is named twice")
        self.read.add(name)
        with self.archive.open(name) as stream:
            sha256 = hashlib.sha256()
            while block := stream.read(2**20):
                sha256.update(block)
            if sha256.hexdigest() != self.digests[name]:
                raise ValueError(f"{name} does not match its sha256")
            stream.seek(0)
            return parse(stream, self.archive.getinfo(name).file_size)


def _read_header(stream: IO[bytes], nbytes: int) -> dict[str, Any]:
    if nbytes > HEADER_LIMIT:
        raise ValueError(f"{HEADER} has {nbytes} bytes, expected at most {HEADER_LIMIT}")
    header = read_json(stream, nbytes)
    if not isinstance(header, dict):
        raise TypeError(f"{HEADER} holds {type(header).__name__}, expected an object")
    return header


@contextmanager
def _reading(path: str | os.PathLike[str], sha256: str | None = None) -> Iterator[_Members]:
    """Open `path` and check its manifest, against `sha256` if given."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            comment = re.match(rb"rlgames checkpoint format (\d{1,9}), manifest sha256 ", archive.comment)
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
            yield _Members(archive, os.fstat(file.fileno()).st_size, digest)
    except (CheckpointError, InvalidTypeError, MemoryError):
        raise
    except Exception as error:  # a damaged zip file raises nearly anything: KeyError, zlib.error, NotImplementedError
        raise CheckpointError(f"{path}: {_reason(path, error)}") from error


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """Open a file for reading. Raises CheckpointError for a pipe or a device, which may have no end.

    Raises TypeError for anything but a path: `open` takes numbers as files that are open already, and closes them.
    """
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise InvalidTypeError(f"expected the path of a file, got {path!r}")
    mode = os.stat(path).st_mode
    if S_ISDIR(mode):
        raise CheckpointError(f"{path}: is a folder: give the checkpoint file in it")
    if not S_ISREG(mode):
        raise CheckpointError(f"{path}: is a pipe or a device: expected a file written by rlgames")
    return open(path, "rb")


def _part(path: str | os.PathLike[str], name: str, sha256: str) -> FilePart:
    """Return the part of the checkpoint `path` in the file `name`, each byte checked but nothing kept."""
    if re.fullmatch(r"\.+|.*[/\\:\0].*", name, re.DOTALL) or not isinstance(sha256, str):
        raise ValueError(f"the part {name!r:.80} is not a file of its folder, with a sha256")
    part = FilePart(Path(path).parent / name, sha256)
    try:
        with _reading(part.path, sha256) as member:
            for each in member.digests.keys() - {MANIFEST}:
                member(each, lambda *_: None)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: its part {error}") from error
    return part


def _reason(path: str | os.PathLike[str], error: Exception) -> str:
    """Return the problem of the file that raised `error`, and the remedy, in one line."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "no such file: check the path"
    if isinstance(error, PermissionError):
        return "cannot be read by this user: change its permissions"
    with open_regular(path) as file:
        start = file.read(4)
    if not start:
        return "is empty: use another checkpoint"
    if not b"PK\3\4".startswith(start):
        return "is not a checkpoint: expected a file written by rlgames"
    reason = one_line(f"{type(error).__name__}: {error}")
    return f"is damaged or cut short ({reason}): copy it again, or use another checkpoint"


def one_line(text: str) -> str:
    """Return the text of an error that a file caused as one short line, without what would control a terminal."""
    line = "".join(x if x.isprintable() else "?" for x in " ".join(text.split()))
    return line if len(line) <= REASON_LIMIT else f"{line[:REASON_LIMIT]} ..."


def config_to_json(config: Any) -> dict[str, Any]:
    """Return a dataclass as plain JSON: tuples become lists."""
    return json.loads(json.dumps(dataclasses.asdict(config)))
