"""A part of a checkpoint that never changes again, such as a piece of a replay buffer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class Segment:
    """Tensors that never change again; one file however many checkpoints name it."""

    tensors: dict[str, Tensor] | None = None
    """The content; may be dropped (set to None) once `sha256` is known."""
    sha256: str | None = None
    """Hash of the file, which is its name; known once a checkpoint that holds the segment is on the disk."""
