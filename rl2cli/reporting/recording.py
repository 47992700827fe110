"""How a policy is seen: what videos are like, where they go, where it is watched; imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from rl2cli.errors import UsageError

VideoFormat = Literal["mp4", "gif"]
FORMATS: tuple[VideoFormat, ...] = ("mp4", "gif")
Watching = Literal["auto", "window", "terminal"]
VIEWS: tuple[Watching, ...] = ("auto", "window", "terminal")
"""Where a policy is watched."""


class Grid(NamedTuple):
    """How many environments a picture shows."""

    rows: int = 1
    columns: int = 1

    @property
    def cells(self) -> int:
        """How many in all."""
        return self.rows * self.columns


class Recording(NamedTuple):
    """What videos are to be like, and where they go."""

    format: VideoFormat = "mp4"
    grid: Grid = Grid()
    overlay: bool = True
    """Whether step, reward and return are written under the pictures."""
    fps: float | None = None
    """Pictures per second; the environment's own where left out."""
    out: Path | None = None
    """A folder, or a file by its suffix; `videos` in the run's folder where left out."""

    def videos(self, episodes: int) -> int:
        """Return how many videos so many episodes take."""
        return -(-episodes // self.grid.cells)

    def require_target(self, episodes: int) -> None:
        """Check that what `out` names can take the videos of so many episodes.

        Raises:
            UsageError: It cannot.
        """
        out, videos = self.out, self.videos(episodes)
        if out is None or not is_file_name(out):
            if out is not None and out.exists() and not out.is_dir():
                raise UsageError(
                    "--out names a file that is neither mp4 nor gif",
                    hint="name a folder, or a new file that ends in .mp4 or .gif",
                    place=str(out),
                )
            return
        if out.suffix.lower() != f".{self.format}":
            raise UsageError(f"--format {self.format} does not go into {out.name}", hint="leave --format out")
        if videos > 1:
            raise UsageError(
                f"{videos} videos do not go into one file", hint="name a folder with --out, or show them in one --grid"
            )
        if out.exists():
            raise exists(out)


def is_file_name(path: Path) -> bool:
    """Return whether a path means a video, by its suffix, not a folder."""
    return path.suffix.lower() in (".mp4", ".gif")


def exists(path: Path) -> UsageError:
    """Return the error for a file that is in the way."""
    return UsageError("this file exists already", hint="name another with --out, or move it away", place=str(path))
