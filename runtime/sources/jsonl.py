"""JSON Lines: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dsl.errors import ConfigError
from runtime.sources.faults import Fault
from runtime.sources.lines import not_utf8, read_lines
from runtime.sources.messages import kind_of
from runtime.sources.record import Record


def read_jsonl(path: Path, file: str) -> Iterator[Record]:
    """The objects of a file; blank lines are passed over.

    Raises ConfigError for a file that cannot be read, or that is JSON of another form.
    """
    begun = False
    for number, line in enumerate(read_lines(path, file), 1):
        line = line.strip()
        if not line:
            continue
        if not begun and (line.startswith(b"[") or line == b"{"):
            form, written = (
                ("one JSON list", "jq -c '.[]'")
                if line[:1] == b"["
                else ("JSON spread over lines", "jq -c .")
            )
            raise ConfigError(f"{file} is {form}, not an object on each line: `{written}` writes it so")
        begun = True
        yield Record(number, _parsed(line))


def _parsed(line: bytes) -> dict[str, Any] | Fault:
    try:
        value = json.loads(line.decode())
    except UnicodeDecodeError:
        return not_utf8(line)
    except json.JSONDecodeError as error:
        return Fault("is not JSON", f"{error.msg.removesuffix(' at')} at column {error.colno}")
    except (ValueError, RecursionError):
        # A number of thousands of digits, or lists within lists within lists.
        return Fault("is not JSON", "it holds what is too long or too deep to be read")
    return value if isinstance(value, dict) else Fault("is no object", f"it is {kind_of(value)}")
