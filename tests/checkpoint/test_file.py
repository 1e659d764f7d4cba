"""Checkpoints are restored exactly, written whole or not at all, and checked for damage when read."""

import hashlib
import json
import math
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections import OrderedDict
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from rlgames.checkpoint import file as checkpoint
from rlgames.checkpoint.encoding import TENSOR_DTYPES, ConcatenatedArray, FilePart
from rlgames.checkpoint.file import CheckpointError, load, read_header, save, weights_sha256

HEADER = {"agent": "dqn", "env": "rlgames/CatchBall-v0", "step": 1200, "config": {"net_arch": [64, 64], "gamma": 0.99}}
RECORD = np.dtype([("paddle", "<i4"), ("ball", "<f8", (2,)), ("größe", "u1")], align=True)


def same(a: Any, b: Any) -> bool:
    """Return whether two trees are equal in types, dtypes, shapes, order of keys and every bit.

    In Python floats any nan equals any nan.
    """
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(type(i) is type(j) and same(a[i], b[j]) for i, j in zip(a, b, strict=True))
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and weights_sha256({"": a}) == weights_sha256({"": b})
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return a.hex() == b.hex()
    return a == b


def example() -> dict[str, Any]:
    """Return a state with one leaf of each kind."""
    weights = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    return {
        "net": OrderedDict({"0.weight": weights, "0.bias": torch.tensor([1.5, -0.0, math.nan], dtype=torch.bfloat16)}),
        "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "betas": (0.9, 0.999)},
        "replay": np.zeros(3, dtype=RECORD),
        "scores": [1, -(2**127), 2**53, 0.1, math.inf, -math.inf, True, None, "größe \ud800", np.float32(0.1), ()],
    }


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints")


@pytest.fixture(scope="session")
def saved(folder: Path) -> bytes:
    save(folder / "saved.ckpt", HEADER, example())
    return (folder / "saved.ckpt").read_bytes()


def test_load_restores_each_kind_of_leaf(tmp_path: Path) -> None:
    save(tmp_path / "a.ckpt", HEADER, example())
    header, state = load(tmp_path / "a.ckpt")
    expected = example()
    expected["net"] = dict(expected["net"])
    assert header == HEADER == read_header(tmp_path / "a.ckpt")
    assert same(state, expected)
    state["replay"]["ball"] += 1  # the arrays are writable
    state["net"]["0.weight"] += 1
    assert os.listdir(tmp_path) == ["a.ckpt"]


TENSORS = st.builds(
    lambda raw, dtype, shape: (
        torch.frombuffer(bytearray(raw), dtype=torch.uint8).view(dtype)[: math.prod(shape)].reshape(shape)
    ),
    st.binary(min_size=64, max_size=64),
    st.sampled_from(sorted(TENSOR_DTYPES - {torch.bool}, key=str)),
    st.sampled_from([(), (0,), (1,), (2, 3), (0, 4), (2, 1, 2)]),
)
DTYPES = arrays_of.scalar_dtypes() | arrays_of.array_dtypes(allow_subarrays=True)
ARRAYS = arrays_of.arrays(DTYPES, arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
SCALARS = arrays_of.scalar_dtypes().flatmap(lambda dtype: arrays_of.arrays(dtype, 1).map(lambda array: array[0]))
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | SCALARS
KEYS = st.text(max_size=4) | st.integers() | st.integers(-(2**130), 2**130)
TREES = st.recursive(
    LEAVES | TENSORS | ARRAYS,
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(KEYS, inner),
    max_leaves=12,
)


@settings(max_examples=50, deadline=None)
@given(TREES)
def test_load_restores_any_tree(folder: Path, state: Any) -> None:
    save(folder / "tree.ckpt", {}, state)
    assert same(load(folder / "tree.ckpt")[1], state)


def test_restored_optimizer_and_generators_continue_exactly(tmp_path: Path) -> None:
    def make_learner(seed: int) -> tuple[torch.nn.Linear, torch.optim.Optimizer, np.random.Generator, torch.Generator]:
        network = torch.nn.Linear(3, 2)
        torch.nn.init.constant_(network.weight, seed)
        optimizer = torch.optim.Adam(network.parameters(), amsgrad=True)
        return network, optimizer, np.random.default_rng(seed), torch.Generator().manual_seed(seed)

    def learn(network: Any, optimizer: Any, rng: Any, generator: Any) -> str:
        for _ in range(3):
            noise = torch.rand(5, 3, generator=generator) + torch.from_numpy(rng.random((5, 3), dtype=np.float32))
            optimizer.zero_grad()
            network(noise).square().mean().backward()
            optimizer.step()
        return weights_sha256(network.state_dict())

    network, optimizer, rng, generator = original = make_learner(seed=1)
    learn(*original)
    state = {"net": network.state_dict(), "optimizer": optimizer.state_dict()}
    save(tmp_path / "a", {}, state | {"rng": rng.bit_generator.state, "torch": generator.get_state()})

    network, optimizer, rng, generator = restored = make_learner(seed=2)
    state = load(tmp_path / "a")[1]
    network.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])
    rng.bit_generator.state = state["rng"]
    generator.set_state(state["torch"])
    assert learn(*restored) == learn(*original)


@pytest.mark.parametrize("kind", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_load_restores_every_numpy_bit_generator(tmp_path: Path, kind: str) -> None:
    original, restored = (np.random.Generator(getattr(np.random, kind)(seed)) for seed in (1, 2))
    original.random(7, dtype=np.float32)
    save(tmp_path / "a", {}, original.bit_generator.state)
    restored.bit_generator.state = load(tmp_path / "a")[1]
    assert same(original.random(9), restored.random(9))


def test_views_and_shared_tensors_are_restored_as_copies(tmp_path: Path) -> None:
    weights = torch.arange(12.0).reshape(3, 4).requires_grad_()
    complexes = torch.tensor([1 + 2j, 3 - 4j])
    state = {
        "tied": [weights, weights, weights.detach()[1:], weights.T, weights[:, 1], weights[0].expand(5, 4)],
        "lazy": [complexes.conj(), complexes.conj().imag, torch.nn.Parameter(weights)],
        "arrays": [
            np.arange(12).reshape(3, 4)[::-1, ::2],
            np.asfortranarray(np.ones((2, 3))),
            np.broadcast_to(3, (2, 2)),
        ],
    }
    save(tmp_path / "a", {}, state)
    loaded = load(tmp_path / "a")[1]
    assert all(map(torch.equal, loaded["tied"] + loaded["lazy"], state["tied"] + state["lazy"]))
    assert same(loaded["arrays"], state["arrays"])
    loaded["tied"][0].zero_()
    assert torch.equal(loaded["tied"][1], weights)


def test_load_restores_a_record_of_many_fields(tmp_path: Path) -> None:
    record = np.zeros(2, dtype=[(f"lebenszähler_{i}", "<f8") for i in range(900)])
    save(tmp_path / "a", {}, record)
    assert same(load(tmp_path / "a")[1], record)


def test_same_content_gives_the_same_bytes(tmp_path: Path, saved: bytes) -> None:
    save(tmp_path / "other name", json.loads(json.dumps(HEADER)), example())
    assert (tmp_path / "other name").read_bytes() == saved


def test_padding_of_records_is_not_saved(tmp_path: Path) -> None:
    inner = np.dtype([("x", "u1"), ("y", "<f4")], align=True)
    record = np.dtype([("a", "i1"), ("inner", inner, (2,)), ("b", "<f8")], align=True)
    dirty = np.frombuffer(b"\1" * record.itemsize * 6, dtype=record).reshape(2, 3)
    clean = np.zeros(dirty.shape, dtype=record)
    for field in ("a", "b"):
        clean[field] = dirty[field]
    for field in ("x", "y"):
        clean["inner"][field] = dirty["inner"][field]
    save(tmp_path / "dirty", {}, [dirty, dirty.T, dirty[0, 0]])
    save(tmp_path / "clean", {}, [clean, clean.T, clean[0, 0]])
    assert (tmp_path / "dirty").read_bytes() == (tmp_path / "clean").read_bytes()
    assert same(load(tmp_path / "dirty")[1], [clean, clean.T, clean[0, 0]])


@pytest.mark.parametrize("lengths", [(0,), (3,), (2, 0, 5), (0, 0)])
@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
def test_concatenated_arrays_are_saved_as_one(tmp_path: Path, lengths: tuple[int, ...], shape: tuple[int, ...]) -> None:
    arrays = [np.full((length, *shape), k, np.float32) for k, length in enumerate(lengths)]
    concatenated = ConcatenatedArray(arrays)
    assert same(np.asarray(concatenated), np.concatenate(arrays))
    save(tmp_path / "many", {}, [concatenated])
    save(tmp_path / "one", {}, [np.concatenate(arrays)])
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()


def test_part_is_another_file_of_the_folder(tmp_path: Path) -> None:
    """It is checked by `load`, read by `resolve_parts`, and never taken from another folder."""
    inner = {"weights": torch.ones(3), "list": [1, (2, np.arange(4))]}
    part = FilePart(tmp_path / "inner", save(tmp_path / "inner", {}, inner))
    save(tmp_path / "a", HEADER, {"part": part, "other": (1.5,)})
    header, state = load(tmp_path / "a")
    assert header == HEADER
    assert state == {"part": part, "other": (1.5,)}
    assert same(checkpoint.resolve_parts(state), {"part": inner, "other": (1.5,)})
    (tmp_path / "folder").mkdir()
    os.rename(tmp_path / "a", tmp_path / "folder" / "a")
    with pytest.raises(CheckpointError, match="its part .*inner: no such file"):
        load(tmp_path / "folder" / "a")


@pytest.mark.parametrize(
    "name", ["../inner", "folder/../inner", "/inner", "", ".", "..", "C:inner", "inner\0", 3, None, ["inner"]]
)
def test_name_of_a_part_is_that_of_a_file(tmp_path: Path, name: Any) -> None:
    sha256 = save(tmp_path / "inner", {}, 1)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "forged"
    forge(path, MEMBERS | {"state.json": json.dumps({"part": [name, sha256]}).encode()})
    with pytest.raises(CheckpointError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: ")


class Pair(NamedTuple):
    left: int
    right: int


@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        ({1, 2}, "type set"),
        (b"bytes", "type bytes"),
        (1j, "type complex"),
        (Pair(1, 2), "type Pair"),
        (IntEnum("Move", ["UP"])(1), "type Move"),
        ({(1, 2): 3}, r"key \(1, 2\) of type tuple"),
        ({True: 3}, "key True of type bool"),
        (np.array([None]), r"dtype\('O'\)"),
        (np.zeros(1, dtype=[("a", object)]), r"\('a', 'O'\)"),
        (np.array(["a"], dtype=np.dtypes.StringDType()), "StringDType"),
        (np.zeros(1, dtype={"names": ["a", "b"], "formats": ["<i4", "<i4"], "offsets": [0, 2]}), "offsets"),
        (np.ma.masked_array([1]), "type MaskedArray"),
        (np.str_("cut\0"), "dtype"),
        (torch.zeros(2).to_sparse(), "sparse"),
        (torch.zeros(2, device="meta"), "meta"),
        (torch.zeros(2, dtype=torch.complex128), "complex128"),
        (torch.zeros(2, dtype=torch.uint8).view(torch.float8_e8m0fnu), "float8_e8m0fnu"),
    ],
)
def test_save_names_a_leaf_that_cannot_be_restored(tmp_path: Path, leaf: Any, reason: str) -> None:
    with pytest.raises(TypeError, match=rf"^state\['optimizer'\]\['state'\]\[0\]\[1\]: cannot save .*{reason}"):
        save(tmp_path / "a", {}, {"optimizer": {"state": {0: [1.0, leaf]}}})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, math.nan, {1, 2}, np.float32(1), [torch.ones(1)]])
def test_header_that_is_not_plain_json_raises(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"header\['config'\]: .* is not plain JSON .*: use str keys, lists"):
        save(tmp_path / "a", {"step": 1, "config": value}, {})


# ---- damage


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_changed_byte_raises_or_changes_nothing(folder: Path, saved: bytes, data: st.DataObject) -> None:
    offset, flip = data.draw(st.integers(0, len(saved) - 1)), data.draw(st.integers(1, 255))
    damaged = bytearray(saved)
    damaged[offset] ^= flip
    (folder / "damaged.ckpt").write_bytes(damaged)
    check_damaged(folder / "damaged.ckpt", *load(folder / "saved.ckpt"))


def check_damaged(path: Path, header: Any, state: Any) -> None:
    """Check that each reader raises CheckpointError in one line, or returns the undamaged content."""
    for read, expected in ((load, (header, state)), (read_header, header)):
        try:
            found, message = read(path), ""
        except CheckpointError as error:
            found, message = expected, str(error)
        assert same(found, expected)
        assert not message or message.startswith(f"{path}: ")
        assert "\n" not in message


def test_file_truncated_at_any_length_raises(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "short.ckpt"
    path.write_bytes(saved)
    for length in reversed(range(len(saved))):
        os.truncate(path, length)
        for read in (load, read_header):
            with pytest.raises(CheckpointError, match=r"is damaged or cut short|is empty"):
                read(path)


def test_truncated_checkpoint_is_not_mistaken_for_one_inside_it(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "outer.ckpt"
    save(path, {}, np.frombuffer(saved, dtype=np.uint8))
    outer = path.read_bytes()
    path.write_bytes(outer[: outer.index(saved) + len(saved)])
    with pytest.raises(CheckpointError, match="is damaged or cut short"):
        load(path)


def test_read_header_ignores_damage_of_the_state(tmp_path: Path, saved: bytes) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(saved.replace(example()["net"]["0.weight"].numpy().tobytes(), bytes(48)))
    assert path.read_bytes() != saved
    assert read_header(path) == HEADER
    with pytest.raises(CheckpointError, match=r"tensors\.safetensors"):
        load(path)


MEMBERS = {"header.json": b'{"step": 1}', "state.json": b"1", "tensors.safetensors": safetensors.torch.save({})}


def forge(
    path: Path,
    members: dict[str, bytes],
    version: int = 1,
    claimed: dict[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Write a checkpoint of any members, with their digests or those of the members `claimed`."""
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in (claimed or members).items()}
    manifest = json.dumps({"format": version, "members": digests}).encode()
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in {**members, "manifest.json": manifest}.items():
            archive.writestr(name, content)
        digest = hashlib.sha256(manifest).hexdigest()
        archive.comment = f"rlgames checkpoint format {version}, manifest sha256 {digest}".encode()


def test_replaced_member_raises(tmp_path: Path) -> None:
    forge(tmp_path / "a", MEMBERS)
    assert load(tmp_path / "a") == ({"step": 1}, 1)
    for name in MEMBERS:
        forge(tmp_path / "a", MEMBERS | {name: b"2"}, claimed=MEMBERS)
        with pytest.raises(CheckpointError, match=f"{name} does not match its sha256"):
            load(tmp_path / "a")


def test_newer_format_asks_for_an_upgrade(tmp_path: Path) -> None:
    forge(tmp_path / "a", {"something new": b""}, version=3)
    expected = f"{tmp_path / 'a'}: was written by a newer rlgames (format 3, this one reads up to 1): upgrade rlgames"
    for read in (load, read_header):
        with pytest.raises(CheckpointError) as raised:
            read(tmp_path / "a")
        assert str(raised.value) == expected


class Exploit:
    """Unpickling it makes a file named "executed" in the working folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path("executed").touch, ()


def test_pickled_member_is_not_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("exploit.npy", np.array([Exploit()]), allow_pickle=True)
    members = MEMBERS | {"state.json": b'{"array": "arrays/0.npy"}'}
    for content in (Path("exploit.npy").read_bytes(), pickle.dumps(Exploit())):
        forge(Path("a"), members | {"arrays/0.npy": content})
        with pytest.raises(CheckpointError, match=r"\(ValueError: "):
            load("a")
        forge(Path("a"), members | {"tensors.safetensors": content})
        with pytest.raises(CheckpointError, match=r"\(SafetensorError: "):
            load("a")
    assert not Path("executed").exists()
    forge(Path("a"), members | {"state.json": b'{"pickle": "arrays/0.npy"}'})
    with pytest.raises(CheckpointError, match="KeyError: 'pickle'"):
        load("a")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such file: check the path"),
        ("text/inside", "no such file: check the path"),
        ("folder", "is a folder: give the checkpoint file in it"),
        ("empty", "is empty: use another checkpoint"),
        ("text", "is not a checkpoint: expected a file written by rlgames"),
        ("weights.pt", "is another kind of zip file (such as PyTorch's .pt): expected a file written by rlgames"),
        ("legacy.pt", "is not a checkpoint: expected a file written by rlgames"),
        ("arrays.npz", "is another kind of zip file (such as PyTorch's .pt): expected a file written by rlgames"),
    ],
)
def test_other_files_raise(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("Once upon a time.")
    torch.save({"weight": torch.ones(3)}, tmp_path / "weights.pt")
    torch.save({"weight": torch.ones(3)}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    np.savez(tmp_path / "arrays.npz", weight=np.ones(3))
    for read in (load, read_header):
        with pytest.raises(CheckpointError) as raised:
            read(tmp_path / name)
        assert str(raised.value) == f"{tmp_path / name}: {reason}"


def test_file_of_another_user_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved: bytes) -> None:
    (tmp_path / "a").write_bytes(saved)

    def fail(*_: Any) -> Any:
        raise PermissionError("Permission denied")

    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(CheckpointError, match="a: cannot be read by this user: change its permissions"):
        load(tmp_path / "a")


# ---- hostile files


def npy(descr: str = "'<f4'", shape: str = "(3,)", data: bytes = bytes(12)) -> bytes:
    """Return an array's member with any header."""
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\3\0" + len(header).to_bytes(4, "little") + header + data


def test_forged_arrays_are_of_the_form_that_is_read(tmp_path: Path) -> None:
    forge(tmp_path / "a", MEMBERS | {"state.json": b'{"array": "arrays/0.npy"}', "arrays/0.npy": npy()})
    assert same(load(tmp_path / "a")[1], np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(shape="(1000000000000,)"), r"shape \(1000000000000,\) and float32 is declared, \d+ bytes are there"),
        (npy(shape="(2,)"), "is declared"),
        (npy(shape="(-3,)"), "not as numpy writes it"),
        (npy(descr="'<U0'", shape="(1000000000000,)", data=b""), "is declared"),
        (npy(descr="'<V0'", shape="(100000000,)", data=b""), "is declared"),
        (npy(descr="'|O'"), "an array of Python objects is not read"),
        (npy(descr="[('a', '|O')]"), "an array of Python objects is not read"),
        (npy(descr="[('a', '<f4', (2000000000, 2000000000))]"), "ValueError"),
        (npy(descr="__import__('os')"), "not as numpy writes it"),
        (npy(descr="-" * 60_000 + "1"), "not as numpy writes it"),
        (npy(descr="(" * 30_000 + ")" * 30_000), "SyntaxError"),
        (npy(descr="[" * 150 + "]" * 150), "Error"),
        (npy(descr="[('a', '<f4')]" + " " * 70_000), "header has 70067 bytes, expected at most 65536"),
        (npy().replace(b"NUMPY\3", b"NUMPY\1"), r"expected an array in version \(3, 0\)"),
        (b"\x93NUMPY\3\0\xff\xff\xff\xff", "header has 4294967295 bytes"),
        (b"", "ValueError"),
    ],
    ids=lambda value: None if isinstance(value, str) else "",
)
def test_forged_array_raises(tmp_path: Path, content: bytes, reason: str) -> None:
    """Before memory is taken for it, whatever its header says."""
    forge(tmp_path / "a", MEMBERS | {"state.json": b'{"array": "arrays/0.npy"}', "arrays/0.npy": content})
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=reason) as raised:
            load(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 2**24
    finally:
        tracemalloc.stop()
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < len(str(tmp_path)) + 350


def test_compressed_member_raises(tmp_path: Path) -> None:
    """It may become a thousand times as large as the file."""
    for compression in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        forge(tmp_path / "a", MEMBERS | {"state.json": b" " * 10**6 + b"1"}, compression=compression)
        for read in (load, read_header):
            with pytest.raises(CheckpointError, match="a member is compressed"):
                read(tmp_path / "a")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_that_is_there_twice_raises(tmp_path: Path) -> None:
    forge(tmp_path / "a", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        archive.writestr("state.json", MEMBERS["state.json"])
    with pytest.raises(CheckpointError, match="its members are not those of its manifest"):
        load(tmp_path / "a")
    forge(tmp_path / "a", MEMBERS)
    with zipfile.ZipFile(tmp_path / "a", "a") as archive:
        archive.writestr("more", b"")
    with pytest.raises(CheckpointError, match="its members are not those of its manifest"):
        load(tmp_path / "a")


def test_members_that_share_their_bytes_raise(tmp_path: Path) -> None:
    """Many entries of the directory of a zip file may point to one place."""
    forge(tmp_path / "a", MEMBERS | {"state.json": b" " * 10_000 + b"1"})
    data = (tmp_path / "a").read_bytes()
    with zipfile.ZipFile(tmp_path / "a") as archive:
        entry = archive.getinfo("state.json")
    start = data.index(b"PK\1\2")
    copies, end = b"", bytearray(data[data.index(b"PK\5\6") :])
    for k in range(100):
        name = f"arrays/{k}.npy".encode()
        fields = (20, 3, 20, 0, 0, 0, 0, 33, entry.CRC, 10_001, 10_001, len(name), 0, 0, 0, 0, 0, entry.header_offset)
        copies += struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *fields) + name
    directory = data[start : data.index(b"PK\5\6")] + copies
    end[8:20] = struct.pack("<HHLL", 104, 104, len(directory), start)
    (tmp_path / "a").write_bytes(data[:start] + directory + end)
    with pytest.raises(CheckpointError, match="its members are larger than the file"):
        load(tmp_path / "a")


@pytest.mark.parametrize("kind", ["array", "tensor", "part"])
def test_content_that_is_used_twice_raises(tmp_path: Path, kind: str) -> None:
    """Each use would take as much memory again."""
    sha256 = save(tmp_path / "inner", {}, 1)
    members = MEMBERS | {"tensors.safetensors": safetensors.torch.save({"w": torch.ones(3)}), "arrays/0.npy": npy()}
    node = {kind: {"array": "arrays/0.npy", "tensor": "w", "part": ["inner", sha256]}[kind]}
    forge(tmp_path / "a", members | {"state.json": json.dumps([node]).encode()})
    assert len(load(tmp_path / "a")[1]) == 1
    forge(tmp_path / "a", members | {"state.json": json.dumps([node, node]).encode()})
    with pytest.raises(CheckpointError, match="is named twice|KeyError: 'w'"):
        load(tmp_path / "a")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"[1, 2]", "header.json holds list, expected an object"),
        (b"null", "header.json holds NoneType, expected an object"),
        (b'{"step": NaN}', "NaN is not JSON"),
        (b'{"step": -Infinity}', "-Infinity is not JSON"),
        (b'{"step": 1' + b"0" * 5000 + b"}", "ValueError: Exceeds the limit"),
        (b'{"a": "' + b" " * 2**20 + b'"}', "header.json has 1048585 bytes, expected at most 1048576"),
        (b"[" * 10**5 + b"]" * 10**5, "RecursionError"),
        (b"\xff", "UnicodeDecodeError"),
    ],
    ids=["list", "null", "nan", "infinity", "digits", "size", "depth", "encoding"],
)
def test_forged_header_raises(tmp_path: Path, header: bytes, reason: str) -> None:
    forge(tmp_path / "a", MEMBERS | {"header.json": header})
    for read in (load, read_header):
        with pytest.raises(CheckpointError, match=reason) as raised:
            read(tmp_path / "a")
        assert "\n" not in str(raised.value)


def test_reason_controls_no_terminal_and_is_short(tmp_path: Path) -> None:
    forge(tmp_path / "a", MEMBERS | {"state.json": json.dumps({"\x1b[2J\n\u202e" + "long" * 1000: 1}).encode()})
    with pytest.raises(CheckpointError) as raised:
        load(tmp_path / "a")
    message = str(raised.value).removeprefix(f"{tmp_path}")
    assert message.isprintable()
    assert len(message) < 350


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices are POSIX's")
def test_pipes_and_devices_raise(tmp_path: Path) -> None:
    """They have no end, or wait for a writer."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        for read in (load, read_header):
            with pytest.raises(CheckpointError, match="is a pipe or a device"):
                read(path)


@pytest.mark.parametrize("path", [1, None, True, b"a.ckpt", 1.5, ["a"]])
def test_what_is_no_path_raises(path: Any) -> None:
    """Numbers are files that are open already: reading one would close it."""
    for read in (load, read_header):
        with pytest.raises(TypeError, match="expected the path of a file, got "):
            read(path)
    os.fstat(1)


# ---- interrupted writers


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "numpy.lib.format.write_array"])
def test_failed_save_changes_nothing(tmp_path: Path, saved: bytes, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    (tmp_path / "a").write_bytes(saved)
    monkeypatch.setattr(step, fail)
    with pytest.raises(OSError, match="no space left"):
        save(tmp_path / "a", {}, np.zeros(9))
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == saved


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file sizes are POSIX's")
@pytest.mark.parametrize("limit", [0, 100, 1000, 5000, 50_000, 100_200, 101_000])
def test_full_disk_changes_nothing(tmp_path: Path, saved: bytes, limit: int) -> None:
    import resource  # noqa: PLC0415  POSIX alone

    (tmp_path / "a").write_bytes(saved)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(tmp_path / "a", HEADER, [torch.zeros(12_500), np.zeros(6250)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == saved


def test_save_deletes_temporary_files_of_killed_writers(tmp_path: Path) -> None:
    stale, others = ".a.ckpt.0123456789abcdef.partial", {".a.ckpt.2.0123456789abcdef.partial", "a.ckpt.partial"}
    for name in {stale, *others}:
        (tmp_path / name).touch()
    save(tmp_path / "a.ckpt", {}, {})
    assert set(os.listdir(tmp_path)) == {"a.ckpt", *others}


KILLED_WRITERS = """
import os, signal, sys, time
import numpy as np, torch
from rlgames import checkpoint

def write(path, replace):
    os.replace = replace
    count = 0
    while True:
        count += 1
        arrays = [np.full(20000, count) for _ in range(4)]
        tensors = [torch.full((5000,), float(count)) for _ in range(4)]
        checkpoint.save(path, {"count": count}, {"arrays": arrays, "tensors": tensors})

path = sys.argv[1]
checkpoint.save(path, {"count": 0}, {"arrays": [], "tensors": []})
for attempt in range(20):
    writer = os.fork()
    if writer == 0:
        write(path, (lambda *_: os.kill(os.getpid(), signal.SIGKILL)) if attempt == 0 else os.replace)
    if attempt > 0:
        time.sleep(0.004 * attempt)
        os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    header, state = checkpoint.load(path)
    assert all((values == header["count"]).all() for values in state["arrays"] + state["tensors"])
    others = len(os.listdir(os.path.dirname(path))) - 1
    assert others == 1 if attempt == 0 else others <= 1, others
checkpoint.save(path, {}, {})
print(os.listdir(os.path.dirname(path)))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kill -9 and fork are POSIX's")
def test_kill_9_leaves_a_complete_file(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED_WRITERS, str(tmp_path / "a.ckpt")]
    completed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert (completed.returncode, completed.stdout) == (0, "['a.ckpt']\n"), completed.stderr


# ---- weights_sha256


def test_weights_sha256_is_of_the_documented_bytes() -> None:
    weight, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(1.5)
    written = b'["b", "torch.float32", []]\n' + bias.tobytes() + b'["w", "torch.float32", [2, 3]]\n' + weight.tobytes()
    tensors = {"w": torch.from_numpy(weight), "b": torch.tensor(1.5)}
    assert weights_sha256(tensors) == hashlib.sha256(written).hexdigest()
    transposed = torch.from_numpy(weight).T.contiguous().T
    assert weights_sha256({"b": torch.nn.Parameter(tensors["b"]), "w": transposed}) == weights_sha256(tensors)


def test_weights_sha256_depends_on_names_dtypes_shapes_and_values() -> None:
    zeros = torch.zeros(2, 3)
    others = [{"a": zeros}, {"w": zeros.int()}, {"w": zeros.T}, {"w": zeros + 1}, {"w": -zeros}, {"w": zeros[:0]}, {}]
    hashes = [weights_sha256(tensors) for tensors in [{"w": zeros}, *others, {"w": zeros.bool()}]]
    assert len(set(hashes)) == len(hashes)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_tensors_give_the_same_weights_sha256_and_file(tmp_path: Path) -> None:
    tensors = {"w": torch.rand(3, 4), "b": torch.rand(3).bfloat16()}
    on_gpu = {name: tensor.cuda() for name, tensor in tensors.items()}
    assert weights_sha256(on_gpu) == weights_sha256(tensors)
    save(tmp_path / "cpu", {}, tensors)
    save(tmp_path / "gpu", {}, on_gpu)
    assert (tmp_path / "cpu").read_bytes() == (tmp_path / "gpu").read_bytes()
    assert same(load(tmp_path / "gpu")[1], tensors)
