"""Sends a login's requests. The only module that sends, and the only one that knows httpx.

TLS is always verified, redirects are not followed, the environment's proxies are not used, and
each exchange is bounded in time and size.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx  # noqa: ASYNC127 - the project's owner chose it; httpx2 could replace it here alone
import trio

from neod import __version__
from neod.kotak.flows import Request
from neod.kotak.replies import LoginFailed, Reply

EXCHANGE_TIME = 10.0  # seconds for a request and its whole reply
CONNECT_TIME = 4.0  # seconds for TCP, and again for TLS
REPLY_MAX = 1024 * 1024  # bytes

Send = Callable[[Request], Awaitable[Reply]]


@asynccontextmanager
async def connected(
    *,
    source_address: str | None = None,
    proxy: str | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Send]:
    """A sender for the requests of one login; its connections end with it.

    The sender raises LoginFailed: `unavailable` where the request did not reach the broker,
    `unanswered` where it may have.
    """
    # TLS is set up here, not at start: neod may run for a day before it needs it.
    async with httpx.AsyncClient(
        transport=transport
        or httpx.AsyncHTTPTransport(
            local_address=source_address, proxy=proxy, trust_env=False, retries=0
        ),
        timeout=httpx.Timeout(EXCHANGE_TIME, connect=CONNECT_TIME),
        follow_redirects=False,
        trust_env=False,
        headers={
            "User-Agent": f"neod/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # so that no small reply unpacks into a large one
        },
    ) as client:

        async def send(request: Request) -> Reply:
            return await _send(client, request)

        yield send


async def _send(client: httpx.AsyncClient, request: Request) -> Reply:
    name = request.words.name
    try:
        with trio.fail_after(EXCHANGE_TIME):
            method = "GET" if request.body is None else "POST"
            async with client.stream(
                method, request.url, headers=request.headers, json=request.body
            ) as response:
                body = bytearray()
                with trio.CancelScope() as enough:
                    async for some in response.aiter_raw():
                        body += some
                        if len(body) > REPLY_MAX:
                            # Not `raise`: that would leave httpx's generators half way.
                            enough.cancel()
                if len(body) > REPLY_MAX:
                    raise LoginFailed("unintelligible", f"the reply to {name} is longer than 1 MiB")
                headers = {k.lower(): v for k, v in response.headers.items()}
                return Reply(response.status_code, headers, bytes(body))
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        why = f"cannot connect for {name}: {_root(error)}"
        raise LoginFailed("unavailable", why, "neod goes on trying") from None
    except (httpx.InvalidURL, UnicodeError):  # a base_url of the broker's may be anything
        raise LoginFailed("unavailable", f"{name} has no address that can be reached") from None
    except (httpx.HTTPError, trio.TooSlowError) as error:
        how = "in time" if isinstance(error, (httpx.TimeoutException, trio.TooSlowError)) else ""
        why = f"{name} was sent, and no whole reply came {how}".rstrip()
        raise LoginFailed("unanswered", why, "neod goes on trying") from None


def _root(error: BaseException) -> str:
    """What the operating system or TLS said: httpx wraps it in errors that have no words.

    It names addresses and certificates, nothing that was to be sent.
    """
    if isinstance(error, BaseExceptionGroup):
        return _root(error.exceptions[0])
    cause = error.__cause__ or error.__context__
    said = _root(cause) if cause is not None else ""
    return said or str(error)
