"""What a person sees while a run goes on: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextvars
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Any

from synth.base.display import escaped
from synth.cli import terminal
from synth.cli.output import duration, money
from synth.runtime.run.run import Watch

if TYPE_CHECKING:
    from synth.runtime.calls.models import Models
    from synth.runtime.events.progress import Progress, StepProgress

_LINE_EVERY = 10.0
_REFRESH = 0.25


class Display:
    """Shows a run's progress on stderr from a thread of its own; it only reads counters.  Of runs
    one after the other, each is shown until the next begins."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.watch = Watch(on_start=self._begin)
        self._quiet = quiet
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._said: set[str] = set()

    def __enter__(self) -> Display:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        if self._thread is not None:
            self._done.set()
            self._thread.join()
            self._done.clear()
            self._thread = None

    def _begin(self, progress: Progress, models: Models) -> None:
        if self._quiet:
            return
        self._end()
        for warning in models.warnings:
            if warning not in self._said:
                terminal.tell(f"warning: {warning}")
        self._said.update(models.warnings)
        # The context tells a notebook which cell an output belongs to.
        target, context = self.follow, contextvars.copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(target, progress, models), name="synth-display", daemon=True
        )
        self._thread.start()

    def follow(self, progress: Progress, models: Models) -> None:
        """Shows one run until it is done."""
        if terminal.is_terminal(err=True):
            self._bars(progress, models)
        else:
            self._lines(progress, models)

    def _lines(self, progress: Progress, models: Models) -> None:
        # The first line comes early, so that a short run shows one as well.
        wait = 2.0
        while not self._done.wait(wait):
            wait = _LINE_EVERY
            terminal.tell(line(progress, models))

    def _bars(self, progress: Progress, models: Models) -> None:
        from rich.live import Live

        with Live(
            console=terminal.live_console(),
            get_renderable=lambda: _shown(progress, models),
            refresh_per_second=1 / _REFRESH,
            transient=True,
        ):
            self._done.wait()


def line(progress: Progress, models: Models) -> str:
    """How far a run is, in one line: conversations, and the steps that have begun, each named with
    its conversation since two may have steps of one name."""
    parts = [
        f"{name} {c.completed:,}/{c.quota:,}" + (f" ({c.abandoned:,} abandoned)" if c.abandoned else "")
        for name, c in progress.cohorts.items()
    ]
    parts += [
        f"{cohort}.{step} {progress.cohorts[cohort].in_log + s.accepted:,} ({_rate(s)})"
        for (cohort, step), s in progress.steps.items()
        if s.issued or s.reused
    ]
    parts += [f"loading `{name}`" for name in sorted(models.loading)]
    if spending := _spending(progress):
        parts.append(spending)
    parts = [progress.preparing] if progress.preparing else parts
    parts += progress.waiting_for
    return escaped(f"{duration(progress.seconds):>7}  " + ", ".join(parts))


def _shown(progress: Progress, models: Models) -> Any:
    from rich.console import Group
    from rich.text import Text

    return Group(
        _table(progress, models),
        *(Text(f" {escaped(said)}", style="yellow") for said in progress.waiting_for),
    )


def _table(progress: Progress, models: Models) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=None,
        padding=(0, 1),
        title=Text(escaped(f"{progress.plan.recipe}  {duration(progress.seconds)}  {progress.preparing}")),
        title_justify="left",
        caption=_spending(progress),
        caption_justify="left",
    )
    # Where it is narrow, the bars give way to what can be read.
    for name in ("", "model"):
        table.add_column(name, no_wrap=True)
    table.add_column("")
    for name in ("done", "in flight", "rate", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, c in progress.cohorts.items():
        note = f"{c.abandoned:,} abandoned" if c.abandoned else ""
        table.add_row(
            f"[bold]{name}",
            note,
            ProgressBar(c.quota or 1, c.completed, width=28),
            f"{c.completed:,}/{c.quota:,}",
            f"{c.open:,} open",
            "",
            "",
        )
        for (cohort, step), s in progress.steps.items():
            if cohort == name:
                done = c.in_log + s.accepted
                table.add_row(
                    f"  {step}",
                    s.model,
                    ProgressBar(c.quota or 1, done, width=28),
                    f"{done:,}",
                    f"{s.in_flight:,}",
                    "loading" if s.model in models.loading else _rate(s),
                    _left(s, c.quota - done),
                )
    return table


def _spending(progress: Progress) -> str:
    """Tokens a second, money so far and what is left of its bound."""
    parts = []
    if rate := progress.tokens_a_second:
        parts.append(f"{rate:,.0f} tokens/s" if rate >= 10 else f"{rate:.1f} tokens/s")
    if progress.prices:
        parts.append(f"{money(progress.cost)} spent")
    if progress.max_cost is not None:
        parts.append(f"{money(max(0.0, progress.max_cost - progress.cost))} left")
    return ", ".join(parts)


def _rate(step: StepProgress) -> str:
    """Answers a second since the step's first call, or a minute where that reads better."""
    if not step.completed or not step.seconds:
        return "-"
    rate = step.completed / step.seconds
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:,.1f}/min"


def _left(step: StepProgress, remaining: int) -> str:
    if remaining <= 0:
        return "done"
    return duration(remaining * step.seconds / step.completed) if step.completed else "-"
