"""Where a service is: an address without anything that must not be shown."""

from __future__ import annotations

from urllib.parse import urlsplit

from synth.base.errors import EngineError


def require_address(address: str, source: str) -> str:
    """An address that paths are put after.  Raises EngineError for what is none, or holds what has no
    place in one; the sentence names its `source` and shows nothing of it."""
    try:
        url = urlsplit(address)
        # Asking for the port raises where it is none.
        sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        sound = False
    if "@" not in address and not (sound and address.isprintable() and " " not in address):
        raise EngineError(f"{source} is no address: it must begin with http:// or https:// and name a host")
    if "@" in address:
        raise EngineError(
            f"{source} holds a user or password, which would be shown where the address is: take it out "
            "and set the service's key in its environment variable"
        )
    if "?" in address or "#" in address:
        raise EngineError(
            f"{source} holds more than an address (`?` or `#`): paths are put after it, and a key in it "
            "would be shown; take that out and set the key in its environment variable"
        )
    return address.rstrip("/")
