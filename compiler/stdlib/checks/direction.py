"""Characters that do not show and change the direction of what is written beside them."""

from __future__ import annotations

import re
from unicodedata import name

from synth.base.display import BIDI_CONTROLS, code_point

_CONTROL = re.compile(f"[{BIDI_CONTROLS}]")


def no_bidi_controls(text: str) -> str | None:
    found = _CONTROL.search(text)
    return f"holds {code_point(found[0])} {name(found[0])}" if found else None
