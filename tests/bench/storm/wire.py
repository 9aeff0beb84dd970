"""HTTP as a bot speaks it: its own few lines, none of neod's, so that neither hides the other's
mistake.
"""

import json
from contextlib import suppress
from typing import NamedTuple

import trio

LARGEST = 1 << 20  # bytes of an answer


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """Of a problem."""
        return str(self.fields.get("code", ""))

    @property
    def fields(self) -> dict[str, object]:
        try:
            found = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Cut(Exception):  # noqa: N818
    """The other side closed before the answer was whole."""


class Wire:
    """One connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = bytearray()

    async def ask(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Raises Cut, trio.BrokenResourceError."""
        lines = [f"{method} {target} HTTP/1.1", "Host: neod"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        with suppress(trio.BrokenResourceError):  # who is turned away at the door is told why
            await self.stream.send_all("\r\n".join([*lines, "", ""]).encode() + body)
        return await self.answer()

    async def answer(self) -> Reply:
        """The next one; of one without an end, which a watch gets, the head alone."""
        status, fields = await self._head()
        length = int(fields.get("content-length", "0"))
        while len(self._rest) < length:
            await self._more()
        said, self._rest = bytes(self._rest[:length]), self._rest[length:]
        return Reply(status, fields, said)

    async def _head(self) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._rest:
            await self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in rest:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
        return int(first.split(" ")[1]), fields

    async def line(self) -> bytes:
        """Up to the next newline, without it."""
        while b"\n" not in self._rest:
            await self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        return bytes(line)

    async def _more(self) -> None:
        some = await self.stream.receive_some(65536)
        if not some or len(self._rest) > LARGEST:
            raise Cut
        self._rest += some

    async def aclose(self) -> None:
        await self.stream.aclose()
