"""A service that lies: below HTTP, in HTTP, about how its bodies are packed, in JSON, and in each field.

Written on sockets, since no library sends such things.  The first requests of a server meet its lie,
and all others are answered as they should be.
"""

from __future__ import annotations

from tests.kit.servers.lying import bodies, transport
from tests.kit.servers.lying.completions import FIELDS, GEMINI, fields
from tests.kit.servers.lying.server import Exchange, Lie, LyingServer

__all__ = ["FIELDS", "GEMINI", "LIES", "Exchange", "LyingServer", "fields"]

LIES: dict[str, Lie] = {**transport.LIES, **bodies.LIES}
