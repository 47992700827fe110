"""A TOML language server, as an editor talks to it: JSON messages over its standard input and output."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

CURSOR = "|"


class LanguageServer:
    """A language server with one document in a folder; a context manager that ends it."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=folder
        )
        self._requests = self._documents = 0

    def __enter__(self) -> LanguageServer:
        where = {"uri": self.folder.as_uri(), "name": self.folder.name}
        self._ask("initialize", processId=None, rootUri=where["uri"], workspaceFolders=[where], capabilities={})
        self._tell("initialized")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def completions(self, text: str) -> set[str]:
        """Return the labels that are offered at the `CURSOR` in `text`, once its schema has been read."""
        before, _, after = text.partition(CURSOR)
        self._documents += 1
        document = {"uri": (self.folder / f"edited{self._documents}.toml").as_uri()}
        opened = {**document, "languageId": "toml", "version": 1, "text": before + after}
        self._tell("textDocument/didOpen", textDocument=opened)
        position = {"line": before.count("\n"), "character": len(before) - before.rfind("\n") - 1}
        for _ in range(20):  # the first answers may come before the schema is there
            found = self._ask("textDocument/completion", textDocument=document, position=position)
            items = found["items"] if isinstance(found, dict) else found or []
            if items:
                break
        return {item["label"] for item in items}

    def _tell(self, method: str, **parameters: Any) -> None:
        self._send({"method": method, "params": parameters})

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._requests += 1
        self._send({"id": self._requests, "method": method, "params": parameters})
        while True:
            message = self._receive()
            if "method" in message and "id" in message:  # the server asks, too
                asked = message.get("params") or {}
                self._send({"id": message["id"], "result": [{} for _ in asked.get("items", [])] or None})
            elif message.get("id") == self._requests:
                return message.get("result")

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        size = 0
        while line := self._process.stdout.readline().strip():
            name, _, value = line.partition(b":")
            size = int(value) if name.lower() == b"content-length" else size
        message: dict[str, Any] = json.loads(self._process.stdout.read(size))
        return message
