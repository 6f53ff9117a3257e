"""Lies in what a body says, and bodies that repeat what was sent."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.kit.servers.lying.server import Exchange, Lie, listed

LIES: dict[str, Lie] = {}
lie = listed(LIES)


def _body(data: bytes, kind: str = "application/json") -> Lie:
    async def tell(exchange: Exchange) -> None:
        await exchange.reply(data, kind=kind)

    return tell


LIES |= {
    "empty": _body(b""),
    "page": _body(b"<html><body>please log in</body></html>", "text/html"),
    "stream": _body(b'data: {"choices":[{"delta":{}}]}\n\ndata: [DONE]\n\n', "text/event-stream"),
    "deep": _body(b"[" * 100_000),
    "deep_objects": _body(b'{"error":' * 900 + b"1" + b"}" * 900),
    "many_values": _body(b"[" + b"[]," * 700_000 + b"[]]"),
    "latin": _body(b'{"choices": [{"message": {"content": "caf\xe9"}}]}'),
    "list": _body(b"[]"),
    "null": _body(b"null"),
    "number": _body(b"1" * 6000),
    "not_a_number": _body(b"NaN"),
    "error_401": _body(b'{"error": {"code": 401, "message": "no such key"}}'),
    "error_429": _body(b'{"error": {"code": "429", "message": "slow down"}}'),
    "error_503": _body(b'{"error": {"code": 503, "message": "later"}}'),
    "error_list": _body(b'{"error": [[[["odd"]]]]}'),
}


def _each(exchange: Exchange) -> Iterator[str]:
    yield from exchange.headers.values()


@lie
async def marked_order(exchange: Exchange) -> None:
    await exchange.reply(b"\xef\xbb\xbf" + exchange.right)


@lie
async def repeats_in_an_error(exchange: Exchange) -> None:
    said = json.dumps({"error": {"message": "your headers: " + " ".join(_each(exchange))}})
    await exchange.reply(said.encode(), 400)


@lie
async def repeats_in_a_page(exchange: Exchange) -> None:
    said = "<html><body>" + "x" * 19_990 + " ".join(_each(exchange)) + "</body></html>"
    await exchange.reply(said.encode(), 502, kind="text/html")


@lie
async def repeats_in_an_answer(exchange: Exchange) -> None:
    said = json.dumps(" ".join(_each(exchange)))[1:-1].encode()
    await exchange.reply(exchange.right.replace(b"Fine.", said).replace(b"m-1", said))


@lie
async def repeats_encoded(exchange: Exchange) -> None:
    import base64
    from urllib.parse import quote

    said = " ".join(
        form
        for value in _each(exchange)
        for form in (
            quote(value, safe=""),
            value.encode().hex(),
            base64.b64encode(b"a" + value.encode()).decode(),
            base64.urlsafe_b64encode(value.encode()).decode(),
        )
    )
    await exchange.reply(exchange.right.replace(b"Fine.", said.encode()))
