"""JSON: an object on each line, or one list of objects."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from synth.base.display import quoted
from synth.base.errors import ConfigError
from synth.runtime.sources.faults import SAVE_AS_UTF8, Fault
from synth.runtime.sources.marks import WithNan, kind_of
from synth.runtime.sources.readers.lines import MAX_LINE, begins_with, not_utf8, read_blocks, read_lines
from synth.runtime.sources.record import Record

_UTF8_MARK = b"\xef\xbb\xbf"
_BLANKS = " \t\r\n"
_TOO_DEEP = "it holds what is too long or too deep to be read"


def read_jsonl(path: Path, file: str) -> Iterator[Record]:
    """The objects of a file, on lines or in a list; blank lines are passed over.

    Raises ConfigError for a file that cannot be read, or that is JSON of another form.
    """
    return _listed(path, file) if begins_with(path, file, b"[") else _on_lines(path, file)


def read_json(path: Path, file: str) -> Iterator[Record]:
    """The objects of one list: the whole of a file, or the one list that its object holds.

    Raises ConfigError for a file that cannot be read, or that is JSON of another form.
    """
    return _within(path, file) if begins_with(path, file, b"{") else _listed(path, file)


def _on_lines(path: Path, file: str) -> Iterator[Record]:
    begun = False
    parse = _Parser()
    for number, line in enumerate(read_lines(path, file), 1):
        if len(line) > MAX_LINE:
            fault = Fault(
                f"is longer than {MAX_LINE // 1024**2} MiB",
                remedy="write each conversation on a line of its own",
            )
            yield Record(number, fault)
            continue
        # Files that were put together can have the mark on later lines as well.
        line = line.strip().removeprefix(_UTF8_MARK)
        if not line:
            continue
        if not begun and line == b"{":
            raise ConfigError(
                f"{file} is JSON spread over lines, not an object on each line: `jq -c .` writes it so"
            )
        begun = True
        yield Record(number, parse(line))


class _Parser:
    """What reads JSON.  A key that is there twice, with two values, is a fault of its row; NaN is
    how tables write that there is no value, save in a mark, where it may be anything, and in a column
    that is only kept."""

    def __init__(self) -> None:
        self._twice = ""
        self._nan = False
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._constant,
        )

    def __call__(self, line: bytes) -> dict[str, Any] | Fault:
        try:
            value = self._decode(line.decode())
        except UnicodeDecodeError:
            return not_utf8(line)
        except json.JSONDecodeError as error:
            return Fault("is not JSON", f"{error.msg.removesuffix(' at')} at column {error.colno}")
        except (ValueError, RecursionError):
            # A number of thousands of digits, or lists within lists within lists.
            return Fault("is not JSON", _TOO_DEEP)
        return self.row(value)

    def _decode(self, text: str) -> Any:
        # `decode` looks for blanks around, which are gone.
        value, end = self.decoder.raw_decode(text)
        return value if end == len(text) else self.decoder.decode(text)

    def row(self, value: Any) -> dict[str, Any] | Fault:
        """A value that was read, where it is an object."""
        twice, self._twice = self._twice, ""
        if not isinstance(value, dict):
            return Fault("is no object", f"it is {kind_of(value)}")
        if self._nan:
            self._nan = False
            value = WithNan(value)
        return Fault("has a key twice, with two values", quoted(twice)) if twice else value

    def _constant(self, name: str) -> float:
        self._nan = True
        return float(name.replace("Infinity", "inf"))

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            # What is there twice and the same does no harm.
            self._twice = next((name or "(empty)" for name, value in pairs if made[name] != value), "")
        return made


def _listed(path: Path, file: str) -> Iterator[Record]:
    """The objects of one list, an element at a time."""
    text = _Text(path, file)
    yield from _items(text, _Parser())
    if text.ahead():
        raise text.fault("there is more after the list")


def _items(text: _Text, parse: _Parser) -> Iterator[Record]:
    text.expect("[")
    if text.ahead() == "]":
        text.expect("]")
        return
    while True:
        text.ahead()
        line, value = text.line, text.value(parse.decoder)
        yield Record(line, parse.row(value))
        if text.ahead() != ",":
            break
        text.expect(",")
    text.expect("]")


def _within(path: Path, file: str) -> Iterator[Record]:
    """The objects of the one list that an object holds; what else it holds is passed over."""
    text, parse = _Text(path, file), _Parser()
    first: str | None = None
    text.expect("{")
    while text.ahead() == '"':
        key = text.value(parse.decoder)
        text.expect(":")
        if text.ahead() != "[":
            text.value(parse.decoder)
        elif first is not None:
            raise ConfigError(
                f"{file} holds several lists, {quoted(first)} and {quoted(key)}: write the rows "
                "alone, as one list"
            )
        else:
            first = key
            yield from _items(text, parse)
        if text.ahead() != ",":
            break
        text.expect(",")
    text.expect("}")
    if text.ahead():
        raise ConfigError(f"{file} holds more than one object: an object on each line is read by `jsonl`")
    if first is None:
        raise ConfigError(f"{file} holds no list of rows: write them as a list of objects")


class _Text:
    """The text of a file, of which as much is held as its longest element takes."""

    def __init__(self, path: Path, file: str) -> None:
        self._file = file
        self._blocks = read_blocks(path, file)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._held = ""
        self._at = 0
        # Where what is held begins.
        self._line, self._column = 1, 0
        self._ended = False

    @property
    def line(self) -> int:
        return self._line + self._held.count("\n", 0, self._at)

    def ahead(self) -> str:
        """The next character that is not blank; none at the end."""
        while True:
            while self._at < len(self._held):
                if (char := self._held[self._at]) not in _BLANKS:
                    return char
                self._at += 1
            if not self._more():
                return ""

    def expect(self, char: str) -> None:
        found = self.ahead()
        if found != char:
            shown = quoted(found) if found else "the end of the file"
            raise self.fault(f"{shown} where `{char}` belongs")
        self._at += 1

    def value(self, decoder: json.JSONDecoder) -> Any:
        while True:
            try:
                value, end = decoder.raw_decode(self._held, self._at)
            except json.JSONDecodeError as error:
                # It may be cut short, or wrong: that is known at the end.
                if len(self._held) - self._at > MAX_LINE:
                    raise self.fault(f"an element is longer than {MAX_LINE // 1024**2} MiB") from None
                if not self._more():
                    raise self.fault(error.msg.removesuffix(" at"), error.pos) from None
            except (ValueError, RecursionError):
                raise self.fault(_TOO_DEEP) from None
            else:
                # A number at the end of what is held may go on.
                if end < len(self._held) or not self._more():
                    self._at = end
                    return value

    def fault(self, reason: str, at: int | None = None) -> ConfigError:
        at = self._at if at is None else at
        line = self._line + self._held.count("\n", 0, at)
        start = self._held.rfind("\n", 0, at)
        column = at - start + (self._column if start < 0 else 0)
        return ConfigError(
            f"{self._file} is not one JSON list ({reason}, at line {line}, column {column}): mend it there"
        )

    def _more(self) -> bool:
        """Takes in as much again as is held, and lets go of what was read."""
        if self._ended:
            return False
        self._line += self._held.count("\n", 0, self._at)
        start = self._held.rfind("\n", 0, self._at)
        self._column = self._at - start - 1 + (self._column if start < 0 else 0)
        kept = [self._held[self._at :]]
        self._at, wanted = 0, len(kept[0])
        while wanted >= 0:
            block = next(self._blocks, None)
            self._ended = block is None
            try:
                kept.append(self._decoder.decode(block or b"", final=self._ended))
            except UnicodeDecodeError:
                raise ConfigError(f"{self._file} is not UTF-8: {SAVE_AS_UTF8}") from None
            if self._ended:
                break
            wanted -= len(kept[-1]) + 1
        self._held = "".join(kept)
        return True
