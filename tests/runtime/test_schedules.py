"""Random schedules of faults: every run ends by itself or by its bound, and all counts add up.

`make soak` takes ten times as many.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings

from tests.runtime.schedules import Case, cases, check


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases)
def test_a_run_ends_and_adds_up_whatever_a_service_does(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(case, Path(folder))
