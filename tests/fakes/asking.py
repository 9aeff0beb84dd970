"""Asking an Api without a socket."""

from neod.ipc.api import Api
from neod.ipc.clients import Client
from neod.ipc.http1 import Request, Response


async def answer_of(
    api: Api, request: Request, body: bytes = b"", client: Client | None = None
) -> Response:
    """The answer to a request that is answered whole."""
    response = await api.respond(request, body, client)
    assert isinstance(response, Response)
    return response
