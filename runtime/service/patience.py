"""How long a service that does not answer is waited for, and how long one that asks to be left alone."""

from __future__ import annotations

from dataclasses import dataclass

from synth.base.errors import CallFailed
from synth.base.text import spoken

# How long an outage is waited out, in seconds.
PATIENCE_S = 600.0
# The same where nobody ever was at the address: it is mistyped, or a server is still starting, which
# takes a model of some size a minute.
NOBODY_S = 60.0
# Rate limits are counted by the minute: who asks for more is asked again after that.
LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: for an outage, and where `nobody` ever was at the address."""

    seconds: float
    nobody: float

    @classmethod
    def of(cls, *limits: float | None) -> Patience:
        """The first that is given, which holds whatever the reason; else the defaults."""
        first = next((seconds for seconds in limits if seconds is not None), None)
        return cls(PATIENCE_S, NOBODY_S) if first is None else cls(first, first)

    def pause(self, failure: CallFailed) -> bool:
        """Cuts the wait that a failure asks for to one that leaves patience for other tries, and says
        so in it.  Whether it was longer than patience itself."""
        asked, most = failure.retry_after or 0.0, min(LONGEST_PAUSE_S, self.seconds / 4)
        if asked > most:
            failure.retry_after = most
            failure.args = (
                f"{failure}; it asks to be left alone for {spoken(asked)}, and is asked again after "
                f"{spoken(most)}",
            )
        return asked > self.seconds
