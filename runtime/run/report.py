"""What bounds a run, and how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synth.base.errors import ConfigError
from synth.runtime.calls.breaker import Stuck
from synth.runtime.events.budget import GRACE_S, Outcome
from synth.runtime.run.shown import run_html, run_line

if TYPE_CHECKING:
    from synth.runtime.retrieval.ingest import IngestReport
    from synth.runtime.sources.ingest import IngestedSource


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Bounds and sizes of a run.  `limit` keeps to that many samples of each conversation;
    `window` is how many samples are open at once, None for twice what the engines can hold.

    `patience` is how long an outage of any model is waited out, None for each model's own, and
    `grace` how long calls in flight are awaited once the run is told to stop; both in seconds.
    """

    limit: int | None = None
    max_calls: int | None = None
    max_minutes: float | None = None
    max_cost: float | None = None
    window: int | None = None
    # Whether what earlier runs lost is tried again, whatever the reason.
    retry_lost: bool = False
    patience: float | None = None
    grace: float = GRACE_S
    # Whether a log that is short of events is gone on with.
    accept_loss: bool = False
    # Folders outside the project that sources may be read from.
    allowed: tuple[Path, ...] = ()
    # Whether code that models wrote may run, confined.
    allow_code: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigError for a bound that is none."""
        for name, least in (("limit", 1), ("max_calls", 0), ("window", 1)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise ConfigError(f"`{name}` is a whole number from {least} on, and {value!r} is not")
        for name in ("max_minutes", "max_cost", "patience", "grace"):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf
            ):
                raise ConfigError(f"`{name}` is a number from 0 on, and {value!r} is not")


@dataclass(frozen=True, slots=True, repr=False)
class RunReport:
    """How a run ended.  `short` says what can never be had of the quotas, `stuck` which steps nothing
    passed; `sources` are those that are in the log by now, `indexes` what was made of documents."""

    outcome: Outcome
    reason: str
    run_id: str
    seconds: float
    cost: float
    counts: Mapping[str, Any]
    warnings: tuple[str, ...]
    short: tuple[str, ...] = ()
    stuck: tuple[Stuck, ...] = ()
    sources: tuple[IngestedSource, ...] = ()
    indexes: Mapping[str, IngestReport] = field(default_factory=dict)

    @property
    def exit_status(self) -> int:
        return {"finished": 0, "limited": 0, "interrupted": 130, "failed": 1}.get(self.outcome, 3)

    def __repr__(self) -> str:
        return f"<RunReport {run_line(self)}>"

    def _repr_html_(self) -> str:
        return run_html(self)
