"""Connections to one service, and its responses read within bounds.

A response has at most MOST_BYTES, as it is sent and unpacked.  Only OPEN of them may be larger than
SMALL_BYTES at one time, so that many large ones do not fill the memory: the others wait, for no
longer than a call may take.  A redirect is not followed, for what it leads to would get the key and
the prompt.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from synth.base.errors import EngineError
from synth.runtime.engines.wire import bodies
from synth.runtime.engines.wire.bodies import Arrived, Redirected, Reply, TooLarge, Unpackable, unpacked

if TYPE_CHECKING:
    from aiohttp.client_proto import ResponseHandler
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

SMALL_BYTES = 1 << 18
OPEN = 4
# What unpacks to no more than a few MiB is unpacked at once.
_SOON_UNPACKED = 1 << 12
_MOST_LAYERS = 2
_REDIRECTS = frozenset({300, 301, 302, 303, 305, 307, 308})


class Door:
    """Connections to the service at a URL.

    `timeout` is in seconds for a whole answer, from when it is asked for; the proxy is the
    environment's.  With `handed_over` a client can be given the session: each of its requests then
    raises Arrived with the reply, and the client reads nothing of it.
    """

    def __init__(
        self,
        url: str,
        connections: int,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        *,
        handed_over: bool = False,
    ) -> None:
        # Writing a body of more than 1 MiB takes the loop a millisecond, which is no fault.
        warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
        self._timeout = timeout
        self._large = asyncio.Semaphore(OPEN)
        # Left to itself a session asks the environment at every request, which costs as much as the
        # request.
        proxy = _proxy(url)
        auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy and proxy.user else None
        self.session = aiohttp.ClientSession(
            # Others would be unpacked by libraries that know no bounds.
            headers={"Accept-Encoding": "gzip, deflate", **(headers or {})},
            auto_decompress=False,
            # What a service sets means nothing to the next call, and sending it back costs as much.
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=_Connector(limit=connections),
            timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(30.0, timeout)),
            proxy=None if proxy is None else proxy.with_user(None),
            proxy_auth=auth,
            middlewares=(self._hand_over,) if handed_over else (),
        )

    async def post(self, url: str, body: bytes) -> Reply:
        """Raises Redirected, TooLarge, Unpackable, aiohttp's ClientError and OSError."""
        until = asyncio.get_running_loop().time() + self._timeout
        async with self.session.post(url, data=body, allow_redirects=False) as response:
            return await self._reply(response, until)

    async def close(self) -> None:
        await self.session.close()

    async def _hand_over(
        self,
        request: aiohttp.ClientRequest,
        handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]],
    ) -> aiohttp.ClientResponse:
        until = asyncio.get_running_loop().time() + self._timeout
        async with await handler(request) as response:
            raise Arrived(await self._reply(response, until))

    async def _reply(self, response: aiohttp.ClientResponse, until: float) -> Reply:
        """A response's status, headers and body; `until` is the loop's time at which it has to be
        there."""
        if response.status in _REDIRECTS:
            response.close()
            raise Redirected(response.status, _elsewhere(response))
        try:
            data = await self._body(response, until)
        except BaseException:
            # What is left of it is not waited for.
            response.close()
            raise
        return Reply(response.status, response.headers, data)

    async def _body(self, response: aiohttp.ClientResponse, until: float) -> bytes:
        packings = _packings(response)
        headers = response.headers
        if "Transfer-Encoding" not in headers and not packings:
            length = response.content_length
            if length is not None and length <= SMALL_BYTES:
                # No more than it says is taken for its body.
                return await response.content.read()
        blocks, size = list[bytes](), 0
        async for block in response.content.iter_any():
            blocks.append(block)
            size += len(block)
            if size > SMALL_BYTES:
                break
        if size <= SMALL_BYTES and (not packings or size <= _SOON_UNPACKED):
            return unpacked(b"".join(blocks), packings)
        async with asyncio.timeout_at(until), self._large:
            async for block in response.content.iter_any():
                blocks.append(block)
                size += len(block)
                if size > bodies.MOST_BYTES:
                    # The error has this frame, and would keep them as long as itself.
                    blocks.clear()
                    raise TooLarge
            data = b"".join(blocks)
            blocks.clear()
            return await asyncio.to_thread(unpacked, data, packings) if packings else data


class _Connector(aiohttp.TCPConnector):
    """Keeps connections open between calls, but none on which a service went on speaking: what it
    said would be taken for the answer to the next call."""

    async def _get(self, key: ConnectionKey, traces: list[Trace]) -> Connection | None:
        while (found := await super()._get(key, traces)) is not None:
            protocol: ResponseHandler | None = found.protocol
            if protocol is not None and not protocol.should_close:
                return found
            found.close()
        return None


def _packings(response: aiohttp.ClientResponse) -> tuple[str, ...]:
    """How a body is packed, in the order in which it was done."""
    headers = response.headers
    if "Content-Encoding" not in headers:
        return ()
    said = ",".join(headers.getall("Content-Encoding")).lower()
    found = tuple(name for each in said.split(",") if (name := each.strip()) not in ("", "identity"))
    if len(found) > _MOST_LAYERS or not bodies.PACKINGS.keys() >= set(found):
        raise Unpackable("the response is packed in a way that was not asked for")
    return found


def _elsewhere(response: aiohttp.ClientResponse) -> str | None:
    """The host that a redirect leads to, with its port where it is none of a scheme's own."""
    try:
        asked, target = response.url, response.url.join(URL(response.headers["Location"]))
        host, port = target.raw_host, target.explicit_port
    except (KeyError, ValueError):
        return None
    if host is None:
        return f"{target.scheme}:"
    if (host, target.port) == (asked.raw_host, asked.port):
        return None
    named = host if port is None else f"{host}:{port}"
    return named if len(named) <= 100 and named.isascii() and named.isprintable() else "another host"


def _proxy(url: str) -> URL | None:
    """The proxy that the environment names for an address: HTTPS_PROXY, HTTP_PROXY or ALL_PROXY,
    without those of NO_PROXY."""
    from urllib.request import getproxies, proxy_bypass

    target, proxies = URL(url), getproxies()
    found = proxies.get(target.scheme) or proxies.get("all")
    if not found or proxy_bypass(target.host or ""):
        return None
    variable = f"{target.scheme.upper()}_PROXY" if proxies.get(target.scheme) else "ALL_PROXY"
    try:
        proxy = URL(found if "://" in found else f"http://{found}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or proxy.raw_host is None:
        raise EngineError(
            f"the proxy in {variable} cannot be used: it must be an address that begins with http:// or "
            "https://; take it out, or name the service's host in NO_PROXY"
        )
    return proxy
