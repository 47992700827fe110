"""A part of a checkpoint that never changes again, such as a piece of a replay buffer."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


class Segment:
    """Tensors that never change again; one file however many checkpoints name it.

    Args:
        tensors: The content.
        sha256: Hash of the file, which is its name; None until a checkpoint that holds the segment is on the disk.
        read: Reads the content of a segment that is on the disk, when it is first asked for.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor] | None = None,
        sha256: str | None = None,
        read: Callable[[], dict[str, Tensor]] | None = None,
    ) -> None:
        self.sha256 = sha256
        self._tensors = tensors
        self._read = read

    def content(self) -> dict[str, Tensor]:
        """Return the tensors; what has to be read from the disk is not kept.

        Raises:
            StorageError: See `tensors`.
            ValueError: They were dropped.
        """
        if self._tensors is not None:
            return self._tensors
        if self._read is None:
            raise ValueError("the content of this segment was dropped")
        return self._read()

    @property
    def tensors(self) -> dict[str, Tensor] | None:
        """The content; may be dropped (set to None) once `sha256` is known.

        Raises:
            StorageError: It was to be read from the disk, and its file is not what it was.
        """
        if self._tensors is None and self._read is not None:
            self._tensors = self._read()
        return self._tensors

    @tensors.setter
    def tensors(self, tensors: dict[str, Tensor] | None) -> None:
        self._tensors, self._read = tensors, None
