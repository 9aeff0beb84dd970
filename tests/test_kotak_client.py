"""The one module that sends: what it makes of a network that misbehaves."""

import json
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
import trustme
from trio.testing import MockClock

from neod.kotak.client import EXCHANGE_TIME, REPLY_MAX, connected
from neod.kotak.flows import VIEW, Request
from neod.kotak.replies import LoginFailed, Reply
from tests.fakes.kotak import Body

REQUEST = Request("login", VIEW, "http://127.0.0.1:1/x", {"Authorization": "Bearer b"}, {"a": "b"})
Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


async def send(handler: Handler) -> Reply:
    async with connected(transport=httpx.MockTransport(handler)) as sender:
        return await sender(REQUEST)


async def failure_of(handler: Handler) -> LoginFailed:
    with pytest.raises(LoginFailed) as failed:
        await send(handler)
    return failed.value


async def test_a_reply_comes_back_whole(autojump_clock: MockClock) -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content) == {"a": "b"}
        assert request.headers["authorization"] == "Bearer b"
        return httpx.Response(200, headers={"X-Some": "Thing"}, stream=Body(b"body"))

    assert (
        await send(handler)
        == Reply(200, {"x-some": "Thing", "transfer-encoding": "chunked"}, b"body")
        or (await send(handler)).headers["x-some"] == "Thing"
    )


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx.ConnectError("refused"), "unavailable"),
        (httpx.ConnectTimeout("slow"), "unavailable"),
        (httpx.ProxyError("407"), "unavailable"),
        (httpx.ReadError("reset"), "unanswered"),
        (httpx.ReadTimeout("slow"), "unanswered"),
        (httpx.WriteError("reset"), "unanswered"),
        (httpx.RemoteProtocolError("cut off"), "unanswered"),
        (httpx.PoolTimeout("busy"), "unanswered"),
    ],
)
async def test_what_may_have_arrived_is_unanswered_and_what_has_not_is_unavailable(
    autojump_clock: MockClock, raised: Exception, kind: str
) -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        raise raised

    assert (await failure_of(handler)).kind == kind


@pytest.mark.parametrize("url", ["https://a..b/x", "https://[::1/x", "https://xn--\xff/x"])
async def test_an_address_that_is_none_is_not_reached(url: str) -> None:
    async with connected() as sender:
        with pytest.raises(LoginFailed) as failed:
            await sender(msgspec.structs.replace(REQUEST, url=url))

    assert failed.value.kind == "unavailable"


async def test_p5_an_exchange_that_hangs_ends(autojump_clock: MockClock) -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await trio.sleep_forever()
        raise AssertionError

    failure = await failure_of(handler)

    assert failure.kind == "unanswered"
    assert trio.current_time() == EXCHANGE_TIME


async def test_p5_a_reply_that_trickles_ends_too(autojump_clock: MockClock) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await trio.sleep(1)
                yield b" "

    async def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Trickle())

    assert (await failure_of(handler)).kind == "unanswered"
    assert trio.current_time() == EXCHANGE_TIME


async def test_a_reply_without_end_is_cut(autojump_clock: MockClock) -> None:
    given = 0

    class Flood(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            nonlocal given
            while True:
                await trio.lowlevel.checkpoint()
                given += 65536
                yield bytes(65536)

    async def handler(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Flood())

    assert (await failure_of(handler)).kind == "unintelligible"
    assert given <= REPLY_MAX + 65536


async def test_a_reply_whose_last_bytes_are_too_many_is_none_either(
    autojump_clock: MockClock,
) -> None:
    async def handler(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Body(b"x" * (REPLY_MAX + 1)))

    assert (await failure_of(handler)).kind == "unintelligible"


async def test_a_redirect_is_not_followed(autojump_clock: MockClock) -> None:
    seen: list[str] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(302, headers={"Location": "http://elsewhere/"}, stream=Body(b""))

    assert (await send(handler)).status == 302
    assert seen == [REQUEST.url]


async def test_a_compressed_bomb_is_not_unpacked(autojump_clock: MockClock) -> None:
    async def handler(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Body(b"\x1f\x8b"))

    assert (await send(handler)).body == b"\x1f\x8b"


async def test_the_environments_proxies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9/")
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_once, [listener])
        request = to(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/x")
        async with connected() as sender:
            assert (await sender(request)).status == 204
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_once, [listener])
        port = listener.transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined]
        async with connected() as sender:
            with pytest.raises(LoginFailed) as failed:
                await sender(to(f"https://127.0.0.1:{port}/x"))
        nursery.cancel_scope.cancel()
    assert failed.value.kind == "unavailable"
    assert "certificate" in failed.value.detail.lower()


@pytest.mark.parametrize(("name", "accepted"), [("127.0.0.1", True), ("kotak.example", False)])
async def test_a_certificate_of_another_host_is_not_accepted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, *, accepted: bool
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(f"{tmp_path}/authority.pem")
    monkeypatch.setattr("certifi.where", lambda: f"{tmp_path}/authority.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    [listener] = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_once, [listener])
        port = listener.transport_listener.socket.getsockname()[1]  # type: ignore[attr-defined]
        async with connected() as sender:
            if accepted:
                assert (await sender(to(f"https://127.0.0.1:{port}/x"))).status == 204
            else:
                with pytest.raises(LoginFailed, match="certificate") as failed:
                    await sender(to(f"https://127.0.0.1:{port}/x"))
                assert failed.value.kind == "unavailable"
        nursery.cancel_scope.cancel()


def to(url: str) -> Request:
    return Request("login", VIEW, url, {}, {})


async def answer_once(stream: trio.abc.Stream) -> None:
    with suppress(trio.BrokenResourceError):  # a handshake that the client gave up
        await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await stream.aclose()


async def test_the_source_address_is_the_one_that_is_configured() -> None:
    peers: list[str] = []

    async def note(stream: trio.SocketStream) -> None:
        peers.append(stream.socket.getpeername()[0])
        await answer_once(stream)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, note, [listener])
        request = to(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/x")
        async with connected(source_address="127.0.0.7") as sender:
            await sender(request)
        nursery.cancel_scope.cancel()
    assert peers == ["127.0.0.7"]


async def test_a_source_address_that_is_not_this_machines_is_an_outage_with_its_reason() -> None:
    async with connected(source_address="203.0.113.7") as sender:
        with pytest.raises(LoginFailed) as failed:
            await sender(to("http://127.0.0.1:1/x"))
    assert failed.value.kind == "unavailable"
    assert failed.value.detail != "cannot connect for the login: "


async def test_the_proxy_that_is_configured_is_asked() -> None:
    asked: list[bytes] = []

    async def proxy(stream: trio.SocketStream) -> None:
        asked.append(await stream.receive_some(65536))
        await stream.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await stream.aclose()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with connected(proxy=url) as sender:
            assert (await sender(to("http://broker.invalid/x"))).status == 204
        nursery.cancel_scope.cancel()
    assert asked[0].startswith(b"POST http://broker.invalid/x HTTP/1.1")
