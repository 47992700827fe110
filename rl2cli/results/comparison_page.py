"""A comparison as a page of its own."""

from __future__ import annotations

from collections.abc import Sequence

from rl2cli.results.page import html_table, inline_svg, page, safe, section


def comparison_page(
    title: str, picture: bytes, headings: Sequence[str], rows: Sequence[Sequence[str]], *, by: str
) -> str:
    """Return a page with the picture, an SVG, and the table under it."""
    figure = f'<figure class="paper">{inline_svg(picture, title)}</figure>'
    return page(title, [f"<h1>{safe(title)}</h1>", figure, section("Runs", html_table(headings, rows))], by=by)
