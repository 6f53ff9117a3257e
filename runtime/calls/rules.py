"""By what rules answers are judged.  A run records them when it starts, and a replay goes by the record.

| version | text that was cut at the limit of tokens | thinking in a text | checks of composed turns |
|---|---|---|---|
| 1, of logs without a record | is an answer | is part of it | are not asked |
| 2 | is refused, unless its step says `on_length = keep` | is split off and kept beside it | are asked |
| 3 | the same | the same, with the tags of more families of models | are asked |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from synth.base.errors import LogError
from synth.store.log.payloads import AnswerRules


@dataclass(frozen=True, slots=True)
class Rules:
    version: int
    heeds_length: bool = True
    splits_thinking: bool = True
    first_tags: bool = False
    judges_composed: bool = True

    def record(self) -> AnswerRules:
        """What `run.started` holds of them."""
        return AnswerRules(
            version=self.version,
            cut_text="on_length" if self.heeds_length else "accepted",
            thinking="split" if self.splits_thinking else "said",
            composed="judged" if self.judges_composed else "accepted",
        )


FIRST = Rules(1, heeds_length=False, splits_thinking=False, judges_composed=False)
SECOND = Rules(2, first_tags=True)
CURRENT = Rules(3)

_KNOWN = {rules.version: rules for rules in (FIRST, SECOND, CURRENT)}


def recorded(record: Mapping[str, Any] | None) -> Rules:
    """The rules of a run from what it recorded.  Raises LogError for those of a later version."""
    if record is None:
        return FIRST
    known = _KNOWN.get(record["version"])
    if known is None:
        raise LogError(
            f"the log judges answers by rules {record['version']}, and this version knows "
            f"{CURRENT.version}: use the version of synth that wrote it, or a later one"
        )
    return known
