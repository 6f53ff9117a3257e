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
    r"(?:args|arguments|parameters|params|returns?|yields|raises)[ \t]*:|examples?[ \t]*:$"
    r"|:(?:returns?|rtype|raises)\b",
    re.IGNORECASE,
)
# What ends what is said of arguments, and is part of a description before them.
_NOTE = re.compile(r"(?:examples?|notes?)[ \t]*:", re.IGNORECASE)
# NumPy's form: a line of dashes below a title, and then `number : str`.
_DASHES = re.compile(r"-{3,}")
_NUMPY_ARGUMENT = re.compile(r"(?P<name>\w+)[ \t]*(?::.*)?")

_ANY = 1_000


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
    inside, numpy = -1, False
    # How far arguments may be indented where another part is open, such as one of what is returned.
    most = _ANY
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        said, indent = line.strip(), len(line) - len(line.lstrip())
        found = (_NUMPY_ARGUMENT if numpy else _ARGUMENT).fullmatch(said)
        if said and _DASHES.fullmatch(below.strip()):
            open_, inside, numpy = None, indent, said.lower() in ("parameters", "other parameters")
            most = _ANY if numpy else -1
        elif _DASHES.fullmatch(said) and open_ is None:
            continue
        elif found is not None and found["name"] in names and indent <= most:
            open_, inside = about.setdefault(found["name"], []), indent
            # NumPy's form has the type there.
            open_.append("" if numpy else found["text"].strip())
        elif _PART.match(said) or (inside >= 0 and _NOTE.match(said)):
            open_, inside = None, indent
            most = _ANY if said.lower().startswith(("arg", "param")) else indent
        elif open_ is None or (inside >= 0 and (not said or indent <= inside)):
            open_, inside = None, max(inside, 0)
        elif said:
            open_.append(said)
        elif paragraphs[-1]:
            paragraphs.append(open_ := [])
    description = "\n\n".join(" ".join(each) for each in paragraphs if each)
    told = {name: " ".join(filter(None, each)) for name, each in about.items()}
    return description, {name: each for name, each in told.items() if each}
