"""What is wrong with the files of a folder: the first is named, the rest are counted."""

from __future__ import annotations

from synth.base.display import quoted
from synth.base.errors import ConfigError


class Unreadable(Exception):
    """A file cannot be used: `what` completes "the file ...", `remedy` is a clause."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class FileFaults:
    """The faults of a folder's files as they are found.  `folder` is what errors call it."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")
        self._faults: dict[str, tuple[str, str]] = {}

    def add(self, name: str, what: str, remedy: str) -> None:
        """Only a file's first fault counts."""
        self._faults.setdefault(name, (what, remedy))

    def raise_any(self) -> None:
        """Raises ConfigError, in one sentence, when a file has a fault."""
        if not self._faults:
            return
        name = min(self._faults)
        what, remedy = self._faults[name]
        rest = len(self._faults) - 1
        more = (
            f"; {rest} more file{'s have' if rest > 1 else ' has a'} fault{'s' * (rest > 1)}" if rest else ""
        )
        raise ConfigError(f"{quoted(f'{self._folder}/{name}', 200)} {what}: {remedy}{more}")
