"""What the text above or in a tool says of it and of its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Collection

# `number: as on the bill`, `number (str): ...`, `:param number: ...`.
_ARGUMENT = re.compile(
    r"(?::param[ \t]+(?:[^:]*[ \t])?)?(?P<name>\w+)[ \t]*(?:\([^)]*\))?[ \t]*:[ \t]*(?P<text>.*)"
)
# What begins a part that is no description: `Args:`, `Returns:`, `:return:`.
_PART = re.compile(
    r"(?:args|arguments|parameters|params|returns?|yields|raises|examples?|notes?)[ \t]*:"
    r"|:(?:returns?|rtype|raises)\b",
    re.IGNORECASE,
)


def read_docs(text: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """The description in a docstring, and what it says of the arguments of some names.

    The description is all before the first line that is of an argument, or begins another part: its
    paragraphs, each in one line.  What is said of an argument goes on in lines that are indented further.
    """
    # Half a surrogate pair is no text that a service takes.
    lines = inspect.cleandoc(text.encode("utf-8", "replace").decode()).split("\n")
    paragraphs: list[list[str]] = [[]]
    about: dict[str, list[str]] = {}
    open_: list[str] | None = paragraphs[0]
    inside = -1
    for line in lines:
        said, indent = line.strip(), len(line) - len(line.lstrip())
        found = _ARGUMENT.fullmatch(said)
        if found is not None and found["name"] in names:
            open_, inside = about.setdefault(found["name"], []), indent
            open_.append(found["text"].strip())
        elif _PART.match(said):
            open_, inside = None, indent
        elif open_ is None or (inside >= 0 and (not said or indent <= inside)):
            open_, inside = None, max(inside, 0)
        elif said:
            open_.append(said)
        elif paragraphs[-1]:
            paragraphs.append(open_ := [])
    description = "\n\n".join(" ".join(each) for each in paragraphs if each)
    told = {name: " ".join(filter(None, each)) for name, each in about.items()}
    return description, {name: each for name, each in told.items() if each}
