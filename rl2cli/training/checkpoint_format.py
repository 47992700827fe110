"""The files of one checkpoint: how they are written, and how their very bytes are verified before they are parsed.

checkpoints/000000000100000/state.safetensors    every tensor and array
                            state.json           the rest of the state, and the metadata
                            manifest.json        size and sha256 of each file, and of itself
checkpoints/segments/<sha256>.safetensors        tensors that never change, shared between checkpoints
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from rl2cli.durable import fsync_folder, open_regular, read_regular, write_new_file
from rl2cli.errors import UsageError
from rl2cli.training.state_tree import JsonValue, flatten, unflatten

FORMAT_VERSION = 1
TENSORS_FILE = "state.safetensors"
STATE_FILE = "state.json"
MANIFEST_FILE = "manifest.json"
SEGMENTS_FOLDER = "segments"
_MANIFEST_LIMIT = 64 * 2**20
_BLOCK = 2**20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NOT_AS_WRITTEN = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO}


class DamagedError(Exception):
    """What was read is not what was written."""


@dataclass(frozen=True)
class BestRecord:
    """Which checkpoint has the best evaluation so far."""

    frames: int
    evaluation_mean: float | None


@dataclass(frozen=True)
class Stamp:
    """Size and hash of a file, as its manifest names it."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Stamp:
        """Return the stamp of a file with this content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def parse(cls, node: Any) -> Stamp:
        """Return the stamp that a manifest holds; raise `DamagedError` where it is none."""
        if not isinstance(node, dict) or set(node) != {"size", "sha256"}:
            raise DamagedError(f"{MANIFEST_FILE} is malformed")
        size, sha256 = node["size"], node["sha256"]
        if type(size) is not int or size < 0 or not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
            raise DamagedError(f"{MANIFEST_FILE} is malformed")
        return cls(size, sha256)

    def read(self, path: Path) -> bytes:
        """Return the verified content of `path`; raise `DamagedError` where it is another."""
        with _damage_named(path):
            content = read_regular(path, self.size)
        self._compare(path, len(content), [content])
        return content

    def verify(self, path: Path) -> None:
        """Raise `DamagedError` where the content of `path` is another, without holding it in memory."""
        with _damage_named(path), open_regular(path, os.O_RDONLY) as file:
            self._compare(path, os.fstat(file.fileno()).st_size, iter(lambda: file.read(_BLOCK), b""))

    def _compare(self, path: Path, size: int, blocks: Iterable[bytes]) -> None:
        if size != self.size:
            raise DamagedError(f"{path.name} does not have the {self.size} bytes that were saved")
        digest = hashlib.sha256()
        for block in blocks:
            digest.update(block)
        if digest.hexdigest() != self.sha256:
            raise DamagedError(f"{path.name} does not have the content that was saved")


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint consists of."""

    frames: int
    files: dict[str, Stamp]
    segments: list[Stamp]
    best: BestRecord | None
    """The best checkpoint at the time of this one."""

    def to_bytes(self) -> bytes:
        """Return the content of `manifest.json`."""
        body: JsonValue = {
            "format_version": FORMAT_VERSION,
            "frames": self.frames,
            "files": {name: dict(vars(stamp)) for name, stamp in self.files.items()},
            "segments": [dict(vars(stamp)) for stamp in self.segments],
            "best": dict(vars(self.best)) if self.best else None,
        }
        return _dump({"manifest": body, "sha256": _hash_of_json(body)})

    def file_names(self) -> set[str]:
        """Return the names of all files in the checkpoint's folder."""
        return {MANIFEST_FILE, *self.files}

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the verified manifest of a checkpoint's folder.

        Raises:
            DamagedError: it is missing, malformed, changed, or belongs to another folder.
            UsageError: a newer rl2 wrote it.
        """
        with _damage_named(folder / MANIFEST_FILE):
            content = read_regular(folder / MANIFEST_FILE, _MANIFEST_LIMIT)
        body = _verified_body(content)
        _require_known_version(body.get("format_version"), folder)
        manifest = cls._parse(body)
        if folder.name != folder_name(manifest.frames):
            raise DamagedError(f"{MANIFEST_FILE} is that of frame {manifest.frames}")
        return manifest

    @classmethod
    def _parse(cls, body: dict[str, Any]) -> Manifest:
        try:
            files = {name: Stamp.parse(node) for name, node in body["files"].items()}
            segments = [Stamp.parse(node) for node in body["segments"]]
            best = parse_best(body["best"])
            frames = body["frames"]
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedError(f"{MANIFEST_FILE} is malformed") from error
        # Names are compared with the two that exist, so none can lead out of the folder.
        if set(files) != {TENSORS_FILE, STATE_FILE} or type(frames) is not int or frames < 0:
            raise DamagedError(f"{MANIFEST_FILE} is malformed")
        return cls(frames, files, segments, best)


@dataclass(frozen=True)
class Snapshot:
    """A state as it was at one frame, apart from what training goes on to change."""

    frames: int
    tensors: dict[str, Tensor]
    tree: JsonValue
    metadata: JsonValue

    @classmethod
    def take(cls, frames: int, state: Mapping[str, object], metadata: Mapping[str, JsonValue]) -> Snapshot:
        """Copy the state to memory of its own on the CPU.

        Raises:
            TypeError: the state or the metadata holds something that cannot be saved; the message says where.
        """
        tensors, tree = flatten(state)
        copies = {
            name: tensor.to("cpu", copy=True, memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        metadata_copy: JsonValue = json.loads(json.dumps(metadata))
        return cls(frames, copies, tree, metadata_copy)

    def write(self, folder: Path, segments: Sequence[Stamp], best: BestRecord | None) -> None:
        """Write the three files into an empty folder and push them to the disk."""
        body: JsonValue = {
            "format_version": FORMAT_VERSION,
            "frames": self.frames,
            "metadata": self.metadata,
            "state": self.tree,
        }
        contents = {TENSORS_FILE: save_tensors(self.tensors), STATE_FILE: _dump(body)}
        files = {name: Stamp.of(content) for name, content in contents.items()}
        contents[MANIFEST_FILE] = Manifest(self.frames, files, list(segments), best).to_bytes()
        for name, content in contents.items():
            write_new_file(folder / name, content)
        fsync_folder(folder)


def read_state(folder: Path, manifest: Manifest) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return state and metadata of a checkpoint, from bytes that were verified.

    Raises:
        DamagedError: a file is missing, changed or malformed.
    """
    tensors = parse_tensors(manifest.files[TENSORS_FILE].read(folder / TENSORS_FILE))
    body = parse_json(manifest.files[STATE_FILE].read(folder / STATE_FILE), STATE_FILE)
    try:
        state, metadata = unflatten(tensors, body["state"]), body["metadata"]
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{STATE_FILE} is malformed") from error
    if not isinstance(state, dict) or not isinstance(metadata, dict):
        raise DamagedError(f"{STATE_FILE} is malformed")
    return state, metadata


def parse_tensors(content: bytes) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file's content; raise `DamagedError` where it is none."""
    try:
        return load_tensors(content)
    except (SafetensorError, ValueError, KeyError, RuntimeError, OverflowError) as error:
        raise DamagedError("malformed safetensors") from error


def parse_json(content: bytes, name: str) -> dict[str, Any]:
    """Return the JSON object of a file's content; raise `DamagedError` where it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{name} is malformed") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{name} is malformed")
    return value


def parse_best(node: Any) -> BestRecord | None:
    """Return the record of the best checkpoint; raise `DamagedError` where it is none."""
    if node is None:
        return None
    frames, mean = (node.get("frames"), node.get("evaluation_mean")) if isinstance(node, dict) else (None, None)
    if type(frames) is not int or frames < 0 or not (mean is None or isinstance(mean, float)):
        raise DamagedError("the record of the best checkpoint is malformed")
    return BestRecord(frames, mean)


def folder_name(frames: int) -> str:
    """Return the name of a checkpoint's folder, which sorts by frame number."""
    return f"{frames:015d}"


def pack_tensors(tensors: Mapping[str, Tensor]) -> bytes:
    """Return the safetensors file of `tensors`, copying only what is not plain CPU memory of its own."""
    return save_tensors({name: _own_memory(tensor.detach()) for name, tensor in tensors.items()})


def _own_memory(tensor: Tensor) -> Tensor:
    plain = tensor.cpu().contiguous()
    whole = plain.untyped_storage().nbytes() == plain.numel() * plain.element_size()
    return plain if whole else plain.clone()


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turn an `OSError` that no save leaves behind into a `DamagedError`."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_AS_WRITTEN:
            raise DamagedError(f"{path.name} is missing or no file") from error
        raise


def _verified_body(content: bytes) -> dict[str, Any]:
    outer = parse_json(content, MANIFEST_FILE)
    body = outer.get("manifest")
    try:
        # Written again it must be the same bytes: so no byte of the file can change unseen.
        same = outer.get("sha256") == _hash_of_json(body) and _dump(outer) == content
    except RecursionError:
        same = False
    if not same or not isinstance(body, dict):
        raise DamagedError(f"{MANIFEST_FILE} does not have the content that was saved")
    return body


def _require_known_version(version: object, folder: Path) -> None:
    if type(version) is not int or version < 1:
        raise DamagedError(f"{MANIFEST_FILE} is malformed")
    if version > FORMAT_VERSION:
        raise UsageError(
            f"this checkpoint has format {version}; this rl2 reads formats up to {FORMAT_VERSION}",
            hint="it needs a newer rl2: `pip install --upgrade rl2cli`",
            place=str(folder),
        )


def _hash_of_json(value: JsonValue) -> str:
    return hashlib.sha256(_dump(value)).hexdigest()


def _dump(value: JsonValue) -> bytes:
    return json.dumps(value).encode("ascii")
