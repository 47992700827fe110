"""`rl2 schema`."""

from __future__ import annotations

from rl2cli.cli.output import emit
from rl2cli.plugins import schema_cache


@schema_cache.preferred()
def schema() -> None:
    """Print the JSON schema of a run spec; an editor that knows it completes and checks specs.

    The options of registered plugins are in it too.
    A spec that opens with `#:schema ./schema.json` is checked against that file by Taplo and Tombi.
    """
    from rl2cli.spec.known_schema import known_schema_text

    emit(known_schema_text().rstrip("\n"))
