"""Text from outside, made fit to be kept."""

from __future__ import annotations


def valid_text(text: str) -> str:
    """The same text, with surrogates joined in pairs and lone ones replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def spoken(seconds: float) -> str:
    """`0.5 s`, `40 s`, `10 min`, `5 h`, `40 days`."""
    if seconds >= 172_800:
        return f"{seconds / 86_400:,.0f} days" if seconds < 1e9 else "many years"
    return (
        f"{seconds / 3600:.0f} h"
        if seconds >= 14_400
        else f"{seconds / 60:.0f} min"
        if seconds >= 120
        else f"{seconds:.2g} s"
        if seconds < 10
        else f"{seconds:.0f} s"
    )
