"""Lark's tables for `grammar.lark`, built once and kept in the user's cache folder.

Building takes ten times as long as loading.  Lark's own cache is a pickle, which runs
what it holds, so the tables are kept as plain data (`marshal`) behind a digest instead,
and only in a folder that nobody but this user can write: anything else about the folder,
the file or the platform means no cache, never an error.
"""

from __future__ import annotations

import marshal
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

GRAMMAR = Path(__file__).with_name("grammar.lark")

_DIGEST_BYTES = sha256().digest_size
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


@cache
def tables() -> Lark:
    """The parser, for both start symbols.  It holds no state of a parse: share it freely."""
    from lark import Lark, __version__

    grammar = GRAMMAR.read_text("utf-8")
    key = sha256("\0".join((grammar, __version__, sys.version, str(marshal.version))).encode()).hexdigest()
    name = f"grammar-{key[:32]}"
    stored = _load(name)
    if stored is not None:
        # A file that passes its digest and still does not load is a fault of this module,
        # and the only harm is the time to build.
        with suppress(Exception):
            return Lark.load(stored)
    built = build(grammar)
    _store(name, _plain_tables(built))
    return built


def build(grammar: str, *, strict: bool = False) -> Lark:
    """Tables from a grammar's text.  `strict` refuses conflicts and needs `interegular`."""
    from lark import Lark

    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=["start", "interpolation"],
        propagate_positions=True,
        maybe_placeholders=False,
        strict=strict,
    )


def _plain_tables(parser: Lark) -> dict[str, Any]:
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    data, memo = parser.memo_serialize([TerminalDef, Rule])
    plain: dict[str, Any] = _plain({"data": data, "memo": memo})
    return plain


def _plain(value: Any) -> Any:
    """A copy without subclasses of `str`, which `marshal` refuses."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


# The cache ---------------------------------------------------------------------------


def _folder() -> Path | None:
    root = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(root):
        return Path(root) / "synth" / "tables"
    try:
        return Path.home() / ".cache" / "synth" / "tables"
    except RuntimeError:
        return None


@contextmanager
def _private_folder() -> Iterator[int | None]:
    """A descriptor of the cache folder, or None unless it is this user's alone.

    Files are opened relative to the descriptor: whoever can swap the folder afterwards
    swaps something that is no longer looked at.
    """
    folder = _folder()
    if folder is None or not hasattr(os, "geteuid"):
        yield None
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        yield None
        return
    try:
        status = os.fstat(descriptor)
        private = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS
        yield descriptor if private else None
    finally:
        os.close(descriptor)


def _load(name: str) -> dict[str, Any] | None:
    with _private_folder() as folder, suppress(OSError, ValueError, EOFError, TypeError):
        if folder is None:
            return None
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder), "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS or not stat.S_ISREG(status.st_mode):
                return None
            content = file.read()
        digest, payload = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if sha256(payload).digest() != digest:
            return None
        loaded = marshal.loads(payload)
        return loaded if isinstance(loaded, dict) else None
    return None


def _store(name: str, plain: dict[str, Any]) -> None:
    payload = marshal.dumps(plain)
    draft = f"{name}.{os.urandom(8).hex()}"
    with _private_folder() as folder:
        if folder is None:
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            with open(os.open(draft, flags, 0o600, dir_fd=folder), "wb") as file:
                file.write(sha256(payload).digest() + payload)
            os.replace(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(draft, dir_fd=folder)
