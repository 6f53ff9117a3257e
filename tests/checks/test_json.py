"""JSON, strictly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.compiler.stdlib.checks import run_check

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.sampled_from([None, 2]))
def test_what_is_json_passes(value: Any, indent: int | None) -> None:
    assert run_check("json_valid", {}, f"\n{json.dumps(value, indent=indent)} ") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not JSON: Expecting value at character 1"),
        ("سكر الجهاز", "is not JSON: Expecting value at character 1"),
        ('{"a": 1,}', "is not JSON: "),
        ("{'a': 1}", "is not JSON: "),
        ('{"a": 1} Here you are!', "has text after its JSON, at character 10"),
        ('{"a": 1}{"a": 1}', "has text after its JSON, at character 9"),
        ('```json\n{"a": 1}\n```', "is fenced in ``` instead of being JSON alone"),
        ('Sure! {"a": 1}', "is not JSON: Expecting value at character 1"),
        ('{"a": 1, "a": 2}', "has the key `a` twice"),
        ('[{"ا": 1, "ا": 1}]', "has the key `ا` twice"),
        ("NaN", "holds NaN, which JSON does not have"),
        ('{"a": -Infinity}', "holds -Infinity, which JSON does not have"),
        ("[1e999]", "holds a number too large to be kept"),
        ("9" * 5000, "holds a number of 5000 digits"),
        ("[" * 100_000, "is nested too deeply to be read"),
        ("\ufeff{}", "is not JSON: "),
    ],
)
def test_what_is_not_json_is_refused(text: str, reason: str) -> None:
    found = run_check("json_valid", {}, text)
    assert found is not None
    assert found.startswith(reason)
