"""Values that have one JSON text, and hashes of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from pydantic import BaseModel, ConfigDict


def _encoder() -> Callable[[Any], str]:
    """What writes canonical JSON, made once.  `json.dumps` makes an encoder for each value, and so
    does `JSONEncoder.encode` underneath, where a fifth of the time goes on small ones."""
    plain = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    # Absent where Python is not CPython.
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    # Circles are not looked for: a value that holds itself ends in a RecursionError.
    chunks = make(None, plain.default, json.encoder.encode_basestring, None, ":", ",", True, False, True)
    return lambda value: "".join(chunks(value, 0))


_ENCODE = _encoder()
_ENCODE_TEXT: Callable[[str], str] = json.encoder.encode_basestring


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no escapes but those JSON needs."""
    return _ENCODE(value)


def canonical_text(text: str) -> str:
    """The same of a text alone, in a fifth of the time."""
    return _ENCODE_TEXT(text)


def digest(value: Any) -> str:
    """sha256 of a value's canonical JSON, in hex.  Lone surrogates are hashed as they stand."""
    return sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def is_too_large(value: Any) -> bool:
    """Whether a value is a number that readers of JSON do not all take: a whole one beyond 64 bits with its
    sign, or one that is not finite."""
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    return isinstance(value, float) and not math.isfinite(value)


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
