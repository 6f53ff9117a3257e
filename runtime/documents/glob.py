"""Patterns for paths below a folder: `**/*.md`, `guides/*.{md,html}`."""

from __future__ import annotations

import re
from collections.abc import Callable

from synth.base.display import quoted
from synth.base.errors import ConfigError

# As in a shell, what begins with a dot is matched only by a pattern that begins with one.
_NOT_HIDDEN = r"(?!\.)"


def compile_glob(pattern: str) -> Callable[[str], bool]:
    """Whether a path with `/` matches.  `**` is any number of folders, `{a,b}` one of several.

    Raises ConfigError for a pattern that cannot match below the folder.
    """
    if not pattern or pattern.startswith("/") or ".." in pattern.split("/") or "\0" in pattern:
        raise ConfigError(
            f"the glob {quoted(pattern, 200)} leaves the folder: write what lies below it, such as **/*.md"
        )
    try:
        expression = re.compile("".join(_parts(pattern)), re.DOTALL)
    except re.error:
        raise ConfigError(
            f"the glob {quoted(pattern, 200)} cannot be read: write one such as **/*.md"
        ) from None
    return lambda path: expression.fullmatch(path) is not None


def _parts(pattern: str) -> list[str]:
    segments = [segment for segment in pattern.split("/") if segment not in ("", ".")]
    parts = []
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "**":
            inner = f"(?:{_NOT_HIDDEN}[^/]+/)*"
            parts.append(f"{inner}{_NOT_HIDDEN}[^/]+" if last else inner)
        else:
            parts.append(("" if segment.startswith(".") else _NOT_HIDDEN) + _segment(segment))
            parts.append("" if last else "/")
    return parts


def _segment(segment: str) -> str:
    """One name's pattern as a regular expression."""
    parts: list[str] = []
    depth, at = 0, 0
    while at < len(segment):
        char = segment[at]
        close = segment.find("]", at + 2) if char == "[" else -1
        if char == "*":
            # Several stars in a row mean one, and would cost time beyond bounds.
            if not parts or parts[-1] != "[^/]*":
                parts.append("[^/]*")
        elif char == "?":
            parts.append("[^/]")
        elif close > 0:
            inner = segment[at + 1 : close].replace("\\", r"\\").replace("[", r"\[").replace("&", r"\&")
            inner = inner.replace("~", r"\~").replace("|", r"\|")
            one = "[^" + inner[1:] + "]" if inner.startswith("!") else "[" + inner + "]"
            parts.append("(?!/)" + one)
            at = close
        elif char == "{" and "}" in segment[at:]:
            parts.append("(?:")
            depth += 1
        elif char == "}" and depth:
            parts.append(")")
            depth -= 1
        elif char == "," and depth:
            parts.append("|")
        else:
            parts.append(re.escape(char))
        at += 1
    return "".join(parts)
