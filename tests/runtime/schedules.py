"""A run through a schedule of faults, and what must hold of it whatever the schedule."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st

import synth
from synth.runtime.run.report import RunReport
from tests.kit.servers.storms import DEEDS, Phase, Schedule, StormyServer
from tests.kit.support import query

RECIPE = """edition 1

recipe storms { seed = 3 }

param count: count = 8

model author: model<chat> from openai("large")

conversation talk times count {
  turn question: user by author {
    prompt = "Ask something about number {{ nth }}."
    max_tokens = 300
    check { length(1..900) }
    retry = 1
  }
  turn answer: model by author { prompt = "Answer: {{ question }}", max_tokens = 300 }
  train_on = [answer]
}

export train: messages from talk to "out/talk"
"""

# Per million tokens of prompts and of answers.
PRICES = (100.0, 1000.0)

# All of a run's waits, in seconds; how long it may take in all is for a machine that is busy.
TIMEOUT_S, PATIENCE_S, GRACE_S = 0.15, 0.4, 0.15
MOST_S = 60.0

# What a try comes to at the client for each deed, where no deadline comes before.
FAILURES = {
    **dict.fromkeys(("hang", "drip"), "timeout"),
    **dict.fromkeys(("drop", "cut"), "connection"),
    **dict.fromkeys(("429", "429 soon", "429 tomorrow"), "rate_limit"),
    **dict.fromkeys(("500", "502 html", "503", "error in 200"), "server"),
    **dict.fromkeys(("401", "403", "404"), "denied"),
    **dict.fromkeys(("html", "not json", "wrong json"), "malformed"),
    "403 moderation": "refused",
    "400": "bad_request",
    "empty": "empty",
}
# A try that is given up, or for which the deadline came first, may have met anything.
ANY = ("timeout", "given_up")


@dataclass(frozen=True, slots=True)
class Case:
    """A schedule and the run that meets it."""

    schedule: Schedule
    count: int
    concurrency: int
    max_calls: int | None
    max_seconds: float | None
    max_cost: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its report, or the sentence that it failed with."""

    report: RunReport | None
    sentence: str
    seconds: float


phases = st.builds(Phase, st.sampled_from(DEEDS), st.integers(1, 24), st.sampled_from((0.2, 0.5, 1.0)))
schedules = st.builds(
    Schedule,
    st.lists(phases, min_size=1, max_size=5).map(tuple),
    # Most services come back; some never do.
    st.sampled_from(("ok", "ok", "ok", *DEEDS)),
    st.integers(0, 1 << 16),
)
cases = st.builds(
    Case,
    schedules,
    st.integers(1, 10),
    st.sampled_from((1, 4, 16)),
    st.sampled_from((None, None, 20)),
    st.sampled_from((None, None, 0.3)),
    # Enough for no call, for one or two, and for some.
    st.sampled_from((None, None, None, 0.1, 1.0, 3.0)),
)


@contextmanager
def short_waits() -> Iterator[None]:
    with (
        patch("synth.runtime.service.limiter.FIRST_WAIT_S", 0.005),
        patch("synth.runtime.service.limiter.LONGEST_WAIT_S", 0.05),
        patch("synth.runtime.service.service._FIRST_PROBE_S", 0.01),
    ):
        yield


def run(
    case: Case, folder: Path, server: StormyServer, *, waits: tuple[float, float], **options: Any
) -> Outcome:
    """One run to its end, in a thread, so that one without an end fails and does not hang.  `waits`
    are the deadline of a call and the patience, in seconds."""
    recipe = folder / "storms.recipe"
    recipe.write_text(RECIPE, "utf-8")
    prices = "[prices.large]\ninput = {}\noutput = {}\n".format(*PRICES)
    (folder / "synth.toml").write_text(prices, "utf-8")
    place = synth.OpenAI(
        "large",
        base_url=server.base_url,
        concurrency=case.concurrency,
        timeout=waits[0],
        patience=waits[1],
    )
    ended: list[Outcome] = []
    begun = time.monotonic()

    def go() -> None:
        report, sentence = None, ""
        try:
            report = synth.run(
                synth.compile(recipe, count=case.count),
                log=folder / "log.duckdb",
                models={"author": place},
                grace=GRACE_S,
                progress=False,
                **options,
            )
        except synth.SynthError as error:
            sentence = str(error)
        ended.append(Outcome(report, sentence, time.monotonic() - begun))

    with short_waits():
        thread = threading.Thread(target=go, daemon=True)
        thread.start()
        thread.join(MOST_S)
    assert ended, f"no end after {MOST_S:g} s: {case}"
    return ended[0]


def check(case: Case, folder: Path) -> Outcome:
    """Runs a case, asserts that all holds of it, and runs it again on a service that is well."""
    log = folder / "log.duckdb"
    with StormyServer(case.schedule) as server:
        minutes = None if case.max_seconds is None else case.max_seconds / 60
        waits = TIMEOUT_S, PATIENCE_S
        bounds = {"max_calls": case.max_calls, "max_minutes": minutes, "max_cost": case.max_cost}
        outcome = run(case, folder, server, waits=waits, **bounds)
    billed = sum(tokens * price / 1e6 for tokens, price in zip(server.billed, PRICES, strict=True))
    if case.max_cost is not None:
        assert billed <= case.max_cost
    assert_log_adds_up(log, server, case)
    if outcome.report is None:
        # A service that answers nobody, or nobody any more, and says so in one sentence.
        assert "`author` (openai:large)" in outcome.sentence or "openai model `large`" in outcome.sentence
        assert "\n" not in outcome.sentence
    else:
        assert_report_adds_up(outcome.report, log)
        # What was lost on the way is counted as what it can have cost.
        assert billed <= outcome.report.cost + 1e-9
        assert outcome.report.cost <= (case.max_cost or math.inf)
    with StormyServer(Schedule((), "ok")) as well:
        again = run(case, folder, well, waits=(MOST_S, MOST_S))
    assert again.report is not None, again.sentence
    assert again.report.outcome in ("finished", "short"), again.report.reason
    assert_report_adds_up(again.report, log)
    assert_nothing_twice(log)
    # What earlier answers led to is not asked for again.
    assert well.arrived == sum(step["issued"] for step in again.report.counts["steps"])
    return outcome


def counted(log: Path, sql: str) -> Mapping[str, int]:
    return dict(query(log, sql))


def assert_log_adds_up(log: Path, server: StormyServer, case: Case) -> None:
    """What the server did and what the log says of it agree."""
    kinds = counted(
        log, "SELECT payload ->> 'failure', count(*) FROM events WHERE kind = 'call.failed' GROUP BY ALL"
    )
    [(completed, stopped)] = query(
        log,
        """SELECT count(*) FILTER (kind = 'call.completed'), count(*) FILTER (kind = 'run.stopped')
           FROM events""",
    )
    assert stopped == 1
    tries = completed + sum(kinds.values())
    unclear = sum(kinds.get(kind, 0) for kind in ANY)
    # A try can be over before the server hears of it, and no other way round.
    assert 0 <= tries - server.arrived <= unclear
    if case.max_calls is not None:
        assert tries <= case.max_calls
    answered = server.met["ok"] + server.met["late"]
    assert completed <= answered <= completed + unclear
    assert set(kinds) <= set(FAILURES.values()) | set(ANY)
    for kind in set(FAILURES.values()) - set(ANY):
        met = sum(server.met[deed] for deed, name in FAILURES.items() if name == kind)
        assert kinds.get(kind, 0) <= met <= kinds.get(kind, 0) + unclear, kind


def assert_report_adds_up(report: RunReport, log: Path) -> None:
    """The summary's sums hold, and are those of the log."""
    for step in report.counts["steps"]:
        assert step["in_flight"] == 0
        assert step["issued"] == step["completed"] + step["failed"]
        assert step["completed"] + step["reused"] == step["accepted"] + step["rejected"]
    kinds = dict(
        query(log, "SELECT kind, count(*) FROM events WHERE run_id = ? GROUP BY ALL", [report.run_id])
    )
    assert sum(step["completed"] for step in report.counts["steps"]) == kinds.get("call.completed", 0)
    assert sum(report.counts["failures"].values()) == kinds.get("call.failed", 0)
    [cohort] = report.counts["cohorts"].values()
    assert cohort["open"] == 0
    assert cohort["completed"] + cohort["pending"] == cohort["quota"]
    assert cohort["completed"] - cohort["found"] == kinds.get("sample.completed", 0)
    given_up = report.counts["failures"].get("given_up", 0)
    assert (f"{given_up} call" in report.reason) == (given_up > 0)


def assert_nothing_twice(log: Path) -> None:
    again = query(
        log,
        """SELECT payload ->> 'call_key', count(*) FROM events WHERE kind = 'call.completed'
           GROUP BY 1 HAVING count(*) > 1""",
    )
    assert again == [], "a call was paid for twice"
