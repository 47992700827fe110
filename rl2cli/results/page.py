"""The frame of a page that holds everything it shows: no file, no network, no script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib.resources import files

from rl2cli.text import printable

_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_NAMESPACES = re.compile(r'\sxmlns(?::xlink)?="[^"]*"')
_GROUP_IDS = re.compile(r'(<(?:g|svg)\b[^>]*?)\sid="[^"]*"')
_SIZE = re.compile(r'(<svg\b[^>]*?)\swidth="[^"]*"|(<svg\b[^>]*?)\sheight="[^"]*"')


def safe(text: object) -> str:
    """Return `text` for a page: harmless characters, escaped."""
    return escape(printable(str(text)), quote=True)


def page(title: str, body: Sequence[str], *, by: str) -> str:
    """Return a page.

    Args:
        title: Shown by the browser.
        body: Its parts, as HTML.
        by: The command that makes it, by which it is known again.
    """
    from rl2cli import __version__

    style = files("rl2cli.results").joinpath("page.css").read_text(encoding="utf-8")
    head = (
        '<meta charset="utf-8"/>',
        f'<meta name="generator" content="{by} {__version__}"/>',
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        '<meta name="color-scheme" content="light dark"/>',
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data: 'self' file:; media-src data: 'self' file:\"/>",
        f"<title>{safe(title)}</title>",
        f"<style>\n{style}</style>",
    )
    parts = ["<!DOCTYPE html>", '<html lang="en">', "<head>", *head, "</head>", "<body>", "<main>", *body]
    return "\n".join([*parts, "</main>", "</body>", "</html>", ""])


def section(heading: str, *body: str) -> str:
    """Return a part of a page under a heading; empty where it holds nothing."""
    inside = [part for part in body if part]
    return "\n".join(["<section>", f"<h2>{safe(heading)}</h2>", *inside, "</section>"]) if inside else ""


def html_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, of_words: bool = False) -> str:
    """Return a table that scrolls by itself where the screen is narrow; empty without rows.

    Numbers end at the same column; with `of_words` every column begins at the same one.
    """
    if not rows:
        return ""
    kind = ' class="words"' if of_words else ""
    head = "".join(f"<th>{safe(heading)}</th>" for heading in headings)
    lines = ["<tr>" + "".join(f"<td>{safe(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join(
        [
            f'<div class="wide"><table{kind}>',
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *lines,
            "</tbody></table></div>",
        ]
    )


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names and their values; empty where there are none."""
    inside = "\n".join(f"<dt>{safe(name)}</dt><dd>{safe(value)}</dd>" for name, value in pairs)
    return f"<dl>\n{inside}\n</dl>" if inside else ""


def folded(heading: str, text: str) -> str:
    """Return a long text that opens when it is asked for; empty where there is none."""
    shown = escape(printable(text, keep_newlines=True))
    return f"<details><summary>{safe(heading)}</summary><pre>{shown}</pre></details>" if text.strip() else ""


def inline_svg(picture: bytes, description: str) -> str:
    """Return an SVG by matplotlib as a part of a page, as wide as its place."""
    svg = picture.decode("utf-8")
    svg = svg[svg.index("<svg") :]
    for pattern, replacement in (
        (_METADATA, ""),
        (_NAMESPACES, ""),
        (_GROUP_IDS, r"\1"),
        (_SIZE, r"\1\2"),
        (_SIZE, r"\1\2"),
    ):
        svg = pattern.sub(replacement, svg)
    svg = svg.replace("xlink:href", "href")
    return svg.replace("<svg", f'<svg role="img" aria-label="{safe(description)}"', 1).strip()
