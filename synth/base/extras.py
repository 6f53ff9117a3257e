"""How to install what an optional part needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

DISTRIBUTION = "synth-recipes"
# `lancedb<0.41,>=0.40; extra == "retrieval"`
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)(?:\[([\w, -]+)\])?([^;]*);.*extra == ['\"]([\w-]+)['\"]")


def install(extra: str) -> str:
    """The command that installs an extra, by the names of its packages: the distribution's own name is
    on no index yet.  In a checkout that was not installed, by the name of the extra."""
    packages = list(dict.fromkeys(_packages(extra)))
    return f"pip install {' '.join(packages)}" if packages else f"pip install '.[{extra}]'"


def _packages(extra: str) -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, requires

    try:
        requirements = requires(DISTRIBUTION) or []
    except PackageNotFoundError:
        return
    for match in filter(None, map(_REQUIREMENT.match, requirements)):
        name, extras, bounds, of = match.groups()
        if of != extra:
            continue
        if name == DISTRIBUTION:
            for inner in (extras or "").split(","):
                yield from _packages(inner.strip())
        else:
            yield f"'{name}{bounds.strip()}'" if bounds.strip() else name
