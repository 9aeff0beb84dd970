"""What uvicorn serves in the bench: GET /v1/session, from the file that $BODY names."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

BODY = Path(os.environ["BODY"]).read_bytes()
HEADERS = [
    (b"content-type", b"application/json"),
    (b"content-length", str(len(BODY)).encode()),
    (b"cache-control", b"no-store"),
]


async def app(
    scope: dict[str, object],
    _receive: Callable[[], Awaitable[dict[str, object]]],
    send: Callable[[dict[str, object]], Awaitable[None]],
) -> None:
    status = 200 if scope["path"] == "/v1/session" else 404
    await send({"type": "http.response.start", "status": status, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
