"""Kotak's SDK on a leash: what it sends to Kotak goes to the sandbox, and nothing goes elsewhere.

The programs here run in the SDK's venv, beside tests/interop/test_interop.py, and know nothing of
neod. What would leave this machine ends them with SystemExit, which the SDK's own `except
Exception` does not swallow.
"""

import sys

import httpx

HERE = "127.0.0.1"
KOTAKS = ".kotaksecurities.com"


class Loopback(httpx.HTTPTransport):
    """A transport for which every host of Kotak's is the sandbox."""

    def __init__(self, sandbox: str) -> None:
        super().__init__(trust_env=False)
        self._sandbox = httpx.URL(sandbox)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host.endswith(KOTAKS):
            request.url = request.url.copy_with(
                scheme=self._sandbox.scheme, host=self._sandbox.host, port=self._sandbox.port
            )
            request.headers["Host"] = request.url.netloc.decode()
        if (request.url.host, request.url.port) != (HERE, self._sandbox.port):
            refuse(request.url.host)
        return super().handle_request(request)


def refuse(host: object) -> None:
    raise SystemExit(f"a request for {host}: only the sandbox at {HERE} may be asked")


def stay_here() -> None:
    """Have the interpreter itself refuse other addresses, whoever opens the connection."""
    sys.addaudithook(_watch)


def _watch(event: str, given: tuple[object, ...]) -> None:
    if event == "socket.getaddrinfo" and given[0] not in (HERE, HERE.encode()):
        refuse(given[0])
    if event in ("socket.connect", "socket.sendto"):
        address = given[1]
        if isinstance(address, tuple) and address[0] != HERE:  # a Unix socket's is no tuple
            refuse(address[0])
