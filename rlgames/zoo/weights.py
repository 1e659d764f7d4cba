"""Find the weights of a trained agent: in a folder, or at an address from which they are downloaded once.

A source is a folder or an http(s) address with a file NAME/agent.ckpt for each agent, such as zoo/ in rlgames's
repository. A file is looked for in the source that was given, else in that folder zoo/, else among those that were
downloaded before. Whatever its source, a file is used only if its size and sha256 are those of the manifest.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from http.client import HTTPException, IncompleteRead
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from platformdirs import user_cache_path

from rlgames.errors import FailedError, InvalidValueError, NoRunError, NotWritableError
from rlgames.zoo.manifest import Card, find_card

FOLDER = "zoo"  # of trained agents in rlgames's repository
FILE = "agent.ckpt"  # the weights in the folder of an agent
VARIABLE = "RLGAMES_ZOO"  # of the environment: the source where none is given
TIMEOUT = 30.0  # seconds without an answer


def find_weights(name: str, source: str | None = None) -> Path:
    """Return the file with the weights of a trained agent, downloaded if need be.

    `source` is a folder or an http(s) address; None: that of RLGAMES_ZOO, if it is set. Raises ValueError for an
    unknown name and for a file that is not the manifest's, FileNotFoundError if there is none, FailedError for an
    address that does not answer or a download that was cut off.
    """
    card = find_card(name)
    source = source or os.environ.get(VARIABLE) or None
    cached = cache_folder() / f"{card.sha256}.ckpt"
    if source and "://" in source:
        if not source.lower().startswith(("http://", "https://")):
            raise InvalidValueError(f"expected a folder or an http(s) address of trained agents, got {source!r}")
        if not is_intact(cached, card):
            download(f"{source.rstrip('/')}/{name}/{FILE}", cached, card)
        return cached
    if source:
        path = Path(source) / name / FILE
        if not path.exists():
            raise NoRunError(f"{path}: no such file: --zoo and {VARIABLE} take the folder that holds {name}/{FILE}")
        check_file(path, card)
        return path
    for folder in zoo_folders():
        if (path := folder / name / FILE).exists():
            check_file(path, card)
            return path
    if is_intact(cached, card):
        return cached
    raise NoRunError(
        f"the weights of {name} are not here: give the folder or address of the zoo with --zoo or {VARIABLE}, such as "
        f"{FOLDER}/ of a clone of rlgames's repository"
    )


def zoo_folders() -> list[Path]:
    """Return where trained agents may be: in the current directory, and beside the package in a clone."""
    return [Path(FOLDER), Path(__file__).parents[2] / FOLDER]


def cache_folder() -> Path:
    """Return the folder of downloaded weights, each file named by its sha256."""
    return user_cache_path("rlgames") / FOLDER


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_intact(path: Path, card: Card) -> bool:
    return path.is_file() and path.stat().st_size == card.bytes and file_sha256(path) == card.sha256


def check_file(path: Path, card: Card) -> None:
    """Raise ValueError for a file other than the manifest's."""
    if not path.is_file():
        raise InvalidValueError(f"{path}: is a folder, a pipe or a device: expected the file of an agent's weights")
    if not is_intact(path, card):
        raise InvalidValueError(
            f"{path}: is not the file of the manifest, whose sha256 is {card.sha256[:12]}...: get it again, or use it "
            "as it is by its own path"
        )


def download(address: str, path: Path, card: Card) -> None:
    """Write the weights at `address` to `path`, whole or not at all."""
    content = fetch(address, card)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")  # several processes may download at once
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(content)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritableError(
            f"{path.parent} cannot be written: {error.strerror or error}; set XDG_CACHE_HOME to a folder that can be"
        ) from error


def fetch(address: str, card: Card) -> bytes:
    """Return the file at `address`. Raises FailedError, in one line, unless it is that of `card`."""
    try:
        with urlopen(Request(address, headers={"User-Agent": "rlgames"}), timeout=TIMEOUT) as answer:
            content = answer.read(card.bytes + 1)
    except HTTPError as error:
        raise FailedError(
            f"{address}: answered with {error.code} {error.reason}: check the address of --zoo"
        ) from error
    except IncompleteRead as error:
        content = error.partial
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise FailedError(f"{address}: does not answer ({reason}): check the address of --zoo, or try again") from error
    if len(content) < card.bytes:
        raise FailedError(f"{address}: was cut off after {len(content):,} of {card.bytes:,} bytes: try again")
    if len(content) > card.bytes or hashlib.sha256(content).hexdigest() != card.sha256:
        raise FailedError(
            f"{address}: is not the file of the manifest, with sha256 {card.sha256[:12]}...: damaged, or of another "
            "version of rlgames"
        )
    return content
