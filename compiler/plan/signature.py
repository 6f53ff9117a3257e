"""Signatures of what recipes call: checks, readers, splitters, indexes, `retrieve` and measures.

Each table of functions gives its signatures; `bind/expressions/arguments.py` is where arguments meet
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from synth.compiler.plan.types import PATH, Type

# A text, or the name of a role: `ends_with("?")` and `ends_with(model)`.
TEXT_OR_ROLE = Type("text_or_role")
# A text, or the name of a file that holds it.
TEXT_OR_FILE = Type("text_or_file")
# The same or a path, where a name is that of a column of the rows.
COLUMN_OR_TEXT = Type("column_or", (TEXT_OR_FILE,))
COLUMN_OR_PATH = Type("column_or", (PATH,))
# What is quoted: a text, a chunk, or a list of either.
PASSAGES = Type("passages")
# A range, or a count, which stands for the range that holds nothing else: `turns(4)`.
HOW_MANY = Type("how_many")
# The name of a source or of a model, bound to what it declares.
SOURCE = Type("source")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that is neither variadic nor `optional` and has no default must be given.

    `varies` lets a value differ from sample to sample: a draw's field or an earlier step.  What
    `may_lack` can then be an optional field: a check passes the samples that lack its argument.
    """

    name: str
    type: Type
    default: Any = None
    variadic: bool = False
    optional: bool = False
    varies: bool = False
    may_lack: bool = False
