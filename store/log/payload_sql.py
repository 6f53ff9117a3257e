"""What SQL reads of events' payloads: one name for each path, beside the types of `payloads`.

A name is an expression over the column `payload`; `p.{NAME}` is that of a table with an alias.  The
arrows bind weaker than a comparison, so parentheses stand around one that is compared.
"""

from __future__ import annotations

# JSON, to be cast or gone into further.
ANSWERS = "payload -> 'answers'"
CELL = "payload -> 'cell'"
COUNTS_COHORTS = "payload -> 'counts' -> 'cohorts'"
COUNTS_SERVED = "payload -> 'counts' -> 'served'"
IDENTITY = "payload -> 'identity'"
MESSAGES = "payload -> 'messages'"
PLAN = "payload -> 'plan'"
PRICES = "payload -> 'prices'"
REJECTED = "payload -> 'rejected'"
SETTINGS = "payload -> 'settings'"
STUCK = "payload -> 'stuck'"
VERSIONS = "payload -> 'versions'"

# Text, or null where there is none.
COHORT = "payload ->> 'cohort'"
ENGINE = "payload ->> 'engine'"
FILE = "payload ->> 'file'"
FINISH_REASON = "payload ->> 'finish_reason'"
KEY = "payload ->> 'key'"
HASH = "payload ->> 'hash'"
FAULT = "payload ->> 'fault'"
FORGOTTEN = "payload ->> 'forgotten'"
IDENTITY_BACKEND = "payload -> 'identity' ->> 'backend'"
IDENTITY_ID = "payload -> 'identity' ->> 'id'"
INPUTS = "payload ->> 'inputs'"
LASTING = "payload ->> 'lasting'"
LINE = "payload ->> 'line'"
LINEAGE = "payload ->> 'lineage'"
NAME = "payload ->> 'name'"
OF = "payload ->> 'of'"
ORDINAL = "payload ->> 'ordinal'"
OUTCOME = "payload ->> 'outcome'"
PAYLOADS = "payload ->> 'payloads'"
PLAN_HASH = "payload ->> 'plan_hash'"
PLAN_RECIPE = "payload -> 'plan' ->> 'recipe'"
READER = "payload ->> 'reader'"
RESULT = "payload ->> 'result'"
ROWS = "payload ->> 'rows'"
SAMPLES = "payload ->> 'samples'"
SERVED_BY = "payload ->> 'served_by'"
SIMULATED = "payload ->> 'simulated'"
SOURCE = "payload ->> 'source'"
TEXT = "payload ->> 'text'"
THOUGHT = "payload ->> 'thought'"
VERSION = "payload ->> 'version'"
