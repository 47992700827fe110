from __future__ import annotations

import time
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from rl2cli.spec.locate import Locations, Path

DOCUMENT = '''\
a = 1 # one
"b c".'d.e' = [10, [ 20, "x" ],
  { f = 30, g.h = """
two lines""" }]

[t]
s = 'é', # comment
[[u.v]]
w = 1
[[u.v]]
w = 2
[u.v.x]
y = 1979-05-27 07:32:00
'''.replace("'é', #", "'é' #")


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("a",), (1, 1, 2), (1, 5, 6)),
        (("b c",), (2, 1, 6), None),
        (("b c", "d.e"), (2, 7, 12), (2, 15, 32)),
        (("b c", "d.e", 1, 1), (2, 26, 29), (2, 26, 29)),
        (("b c", "d.e", 2, "f"), (3, 5, 6), (3, 9, 11)),
        (("b c", "d.e", 2, "g", "h"), (3, 15, 16), (3, 19, 22)),
        (("t",), (6, 2, 3), None),
        (("t", "s"), (7, 1, 2), (7, 5, 8)),
        (("u", "v", 0, "w"), (9, 1, 2), (9, 5, 6)),
        (("u", "v", 1, "w"), (11, 1, 2), (11, 5, 6)),
        (("u", "v", 1, "x", "y"), (13, 1, 2), (13, 5, 24)),
        (("nowhere", "at all"), None, None),
    ],
)
def test_keys_and_values_are_found(path: Path, key: Any, value: Any) -> None:
    found = Locations(DOCUMENT)
    assert (found.key(path), found.value(path)) == (key, value)


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["a", "b", "c-d", "1", "e.f", ""]
)
SCALARS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


def leaves(value: Any, path: Path = ()) -> list[tuple[Path, Any]]:
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in leaves(item, (*path, name))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [(path, value)]


@settings(max_examples=150, deadline=None)
@given(document=DOCUMENTS, multiline=st.booleans(), crlf=st.booleans())
def test_every_value_of_a_generated_document_stands_where_the_locator_says(
    document: dict[str, Any], multiline: bool, crlf: bool
) -> None:
    text = tomli_w.dumps(document, multiline_strings=multiline)
    if crlf and not multiline:
        text = text.replace("\n", "\r\n")
    found = Locations(text)
    for path, value in leaves(tomli.loads(text)):
        assert found.key(path) is not None, path
        span = found.value(path)
        assert span is not None, path
        written = text.split("\n")[span.line - 1][span.column - 1 : span.end_column - 1]
        if not written.startswith('"""'):
            assert tomli.loads(f"value = {written}")["value"] == value


def test_a_hostile_document_is_located_quickly() -> None:
    text = "\n".join(f"k{i}.{'a.' * 30}b = [{'[' * 20}1{']' * 20}]" for i in range(1000))
    started = time.process_time()
    assert Locations(text).key(("k999",)) == (1000, 1, 5)
    assert time.process_time() - started < 3.0


def test_nesting_as_deep_as_tomli_allows_is_no_recursion() -> None:
    text = f"a = {'[' * 390}{']' * 390}"
    assert Locations(text).value(("a",)) == (1, 5, 785)
