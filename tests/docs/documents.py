"""The two READMEs, cut into their fenced blocks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = {"README": ROOT / "README.md", "guide": ROOT / "rl2cli" / "README.md"}
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    language: str
    text: str

    @property
    def file_name(self) -> str | None:
        """What its first line calls it: `# name.py`."""
        match = re.match(r"# ([\w-]+\.(?:py|toml))\n", self.text)
        return match[1] if match else None


def blocks(document: str, language: str) -> list[Block]:
    """Return the blocks of one language, in order."""
    found = [Block(*match.groups()) for match in _FENCE.finditer(DOCUMENTS[document].read_text(encoding="utf-8"))]
    return [block for block in found if block.language == language]


def rl2_commands(document: str) -> list[list[str]]:
    """Return the arguments of every `rl2 ...` in the shell blocks, without redirections."""
    found = []
    for block in blocks(document, "sh"):
        for part in re.split(r"\n|&&", block.text):
            words = shlex.split(part, comments=True)
            words = words[: words.index(">")] if ">" in words else words
            starts = [index for index, word in enumerate(words) if word == "rl2" or word.endswith("/rl2")]
            found += [words[index + 1 :] for index in starts]
    return found
