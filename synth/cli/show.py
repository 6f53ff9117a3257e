from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from synth.base.canonical import canonical_json
from synth.base.display import escaped, plural
from synth.cli import terminal
from synth.cli.options import json_option, log_option
from synth.cli.reading import reading
from synth.compiler.stdlib.tool_results import told
from synth.store.log import payload_sql


@click.command(short_help="Tell one sample's whole story.")
@click.argument("sample")
@log_option
@json_option
def command(sample: str, log: Path, as_json: bool) -> None:
    """Tell one sample's whole story: who was asked what, what came back, what was refused and why.

    Of a row from outside it tells the file and the line.  SAMPLE is a row's id, or the beginning
    of one.
    """
    import duckdb

    from synth.base.errors import LogDamaged

    with reading(log, deep=False) as opened:
        found, damage = _read(opened.cursor(), sample, log)
        try:
            events = [{**event, "payload": json.loads(event["payload"])} for event in found]
            _print(opened.cursor(), events, as_json)
        except (LookupError, TypeError, ValueError, AttributeError, duckdb.Error) as error:
            # What was written can be told; nothing is sure of what was not.
            if damage is None:
                raise
            raise LogDamaged(f"{damage}, so that it cannot be told") from error
    if damage is not None:
        raise LogDamaged(
            f"{damage}: what is shown may not be what was written, and `synth doctor {log}` says more"
        )


def _print(cursor: Any, events: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        terminal.as_json(events)
        return

    source = events[0]["kind"] == "source.ingested"
    if source:
        told = _origin(events, _versions(cursor, events))
    else:
        told = chain([f"sample {events[0]['sample_id']}"], _story(events, _steps(cursor, events)))
    for line in told:
        terminal.block(line)


def _read(cursor: Any, sample: str, log: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The events of a sample, and what is to be said of those that are not as they were written."""
    from synth.store.log.chain import altered

    events = list(_events(cursor, sample, log))
    if not (batches := altered(cursor, [event["seq"] for event in events])):
        return events, None
    several = f"batches {', '.join(map(str, batches))}" if len(batches) > 1 else f"batch {batches[0]}"
    return events, f"{log}: {several} of this sample's events does not have the hash that was taken of it"


def _events(cursor: Any, sample: str, log: Path) -> Iterator[dict[str, Any]]:
    from synth.base.errors import ConfigError
    from synth.base.suggest import some_of

    # A row's id may carry the number of a trained turn behind the sample's.
    name = sample.split("-", 1)[0].encode("utf-8", "backslashreplace").decode()
    ids = cursor.execute(
        "SELECT DISTINCT sample_id FROM events WHERE starts_with(sample_id, ?) ORDER BY 1", [name]
    ).fetchall()
    if not ids or not name:
        raise ConfigError(f"{log} knows no sample `{sample}`: rows carry theirs as `id`")
    if len(ids) > 1:
        raise ConfigError(f"`{sample}` begins several samples: {some_of(row[0] for row in ids)}")
    columns = (
        "seq", "kind", "run_id", "ts_us", "sample_id", "step", "attempt", "model",
        "prompt_tokens", "completion_tokens", "latency_ms", "payload",
    )  # fmt: skip
    rows = cursor.execute(
        f"SELECT {', '.join(columns)} FROM events WHERE sample_id = ? ORDER BY seq", [ids[0][0]]
    )
    for row in rows.fetchall():
        yield dict(zip(columns, row, strict=True))


def _steps(cursor: Any, events: list[dict[str, Any]]) -> list[str]:
    """The steps of a completed sample in the order of its recipe, which its plan knows."""
    ending = events[-1]
    if ending["kind"] != "sample.completed" or "forgotten" in ending["payload"]:
        return []
    (plan,) = cursor.execute(
        f"""SELECT CAST(p.{payload_sql.PLAN} AS VARCHAR) FROM events p JOIN events r
           ON (p.{payload_sql.PLAN_HASH}) = (r.{payload_sql.PLAN_HASH})
           WHERE p.kind = 'plan.registered' AND r.kind = 'run.started' AND r.run_id = ?""",
        [ending["run_id"]],
    ).fetchone()
    made = json.loads(plan)
    if "cohorts" not in made:
        # The plan is forgotten.
        return list(ending["payload"]["values"])
    holders = {each["name"]: each for each in (*made["cohorts"], *made["preferences"])}
    return [step["name"] for step in holders[ending["payload"]["cohort"]]["steps"]]


def _versions(cursor: Any, events: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The `source.completed` of each version that has a row, by version."""
    wanted = [event["payload"]["version"] for event in _readings(events)]
    if not wanted:
        return {}
    found = cursor.execute(
        f"""SELECT payload FROM events WHERE kind = 'source.completed' AND ({payload_sql.SOURCE}) = ?
           AND ({payload_sql.VERSION}) IN (SELECT unnest(?)) ORDER BY seq""",
        [events[0]["payload"]["source"], wanted],
    )
    payloads = (json.loads(payload) for (payload,) in found.fetchall())
    return {payload["version"]: payload for payload in payloads}


def _origin(events: list[dict[str, Any]], versions: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Where a row from outside was read, in each version of its source that has it."""
    first = events[0]["payload"]
    if "forgotten" in first:
        yield f"row {events[0]['sample_id']} of the source `{first['source']}`, forgotten"
        for event in events:
            if "forgotten" in event["payload"]:
                yield f"[{event['seq']}] {_gone(event['payload'])}"
        return
    yield f"row {events[0]['sample_id']} of the source `{first['source']}`, sha256 {first['hash']}"
    if "name" in first:
        yield f"  id {escaped(first['name'])}"
    for field, value in first.get("values", {}).items():
        text = value if isinstance(value, str) else canonical_json(value)
        yield _indented(f"{field}: {text}", "  | ")
    if "rest" in first:
        yield _indented(f"rest: {canonical_json(first['rest'])}", "  | ")
    for message in first.get("messages", ()):
        marks = [f"weight {message['weight']}"] if "weight" in message else []
        yield from _said(message, marks)
        if "thought" in message:
            yield _indented(f"thought: {message['thought']}", "  |   ")
    for event in _readings(events):
        payload = event["payload"]
        version = versions.get(payload["version"])
        yield f"\n[{event['seq']}] read from {escaped(payload['file'])}, {_line(payload)}"
        if version is None:
            yield "  of a version that was not read to its end: its rows are not used"
            continue
        yield f"  row {payload['row'] + 1} of {version['rows']}, read as `{version['shape']}`"
        file = next(each for each in version["files"] if each["path"] == payload["file"])
        yield f"  the file had {file['bytes']} bytes, sha256 {file['sha256']}"
    # What functions said of a row, and when it was forgotten.
    yield from _story([event for event in events if event["kind"] != "source.ingested"], [])


def _readings(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["kind"] == "source.ingested"]


def _said(message: dict[str, Any], marks: list[str]) -> Iterator[str]:
    """What a message says and the calls that it makes."""
    named = f"{message['role']} {message['name']}" if "name" in message else message["role"]
    who = ", ".join([named, *marks])
    if message["content"] or not message.get("calls"):
        yield _indented(f"{who}: {message['content']}", "  | ")
    for call in message.get("calls", ()):
        yield _indented(f"{who} calls {_call(call)}", "  | ")


def _line(payload: dict[str, Any]) -> str:
    table = payload["file"].endswith((".parquet", ".arrow"))
    return f"{'row' if table else 'line'} {payload['line']}"


def _story(events: list[dict[str, Any]], order: list[str]) -> Iterator[str]:
    for event in events:
        payload = event["payload"]
        step = f"{event['step']}, attempt {(event['attempt'] or 0) + 1}"
        if candidate := payload.get("candidate"):
            step += f", candidate {candidate + 1}"
        if "forgotten" in payload:
            what = event["kind"] if event["step"] is None else f"{step}: {event['kind']}"
            yield f"[{event['seq']}] {what}, {_gone(payload)}"
            continue
        match event["kind"]:
            case "call.completed":
                yield f"\n[{event['seq']}] {step}: {event['model']} = {_who(payload)} answered"
                prompt = "exact tokens" if payload["token_ids"] is not None else "messages"
                if cached := payload.get("cached_tokens"):
                    prompt += f", {cached} cached"
                thought = payload.get("reasoning_tokens")
                yield (
                    f"  {event['prompt_tokens']} tokens in ({prompt}), "
                    f"{event['completion_tokens']} out{f' ({thought} reasoning)' if thought else ''}, "
                    + ("estimated, " if payload.get("estimated") else "")
                    + f"{event['latency_ms']} ms, {escaped(str(payload['finish_reason']))}, "
                    + f"seed {payload['seed']}"
                    + "".join(f", {k} {v}" for k, v in payload["sampling"].items())
                )
                for message in payload["messages"]:
                    yield from _said(message, [])
                if "thought" in payload:
                    yield _indented(f"thought: {payload['thought']}", "  >   ")
                if payload["text"] or not payload.get("calls"):
                    yield _indented(payload["text"], "  > ")
                for call in payload.get("calls", ()):
                    yield _indented(f"calls {_call(call)}", "  > ")
                if "malformed" in payload:
                    yield _indented(payload["malformed"], "  ! ")
            case "call.failed":
                again = "tried again" if payload["retryable"] else "given up"
                yield (
                    f"\n[{event['seq']}] {step}: {event['model']} = {_who(payload)} failed, try "
                    f"{payload['try']}: {payload['failure']}: {escaped(payload['message'])} ({again})"
                )
            case "retrieval.done":
                index = payload["index"]
                yield (
                    f"\n[{event['seq']}] {event['step']}: {payload['function']} from `{payload['source']}`, "
                    f"version {index['version']} ({index['digest'][:12]})"
                )
                for chunk in payload["chunks"]:
                    yield _indented(
                        f"{chunk['id']} of {escaped(chunk['document'])}, score {chunk['score']}", "  "
                    )
                    yield _indented(chunk["text"], "  > ")
            case "function.done":
                made = " made up" if payload.get("simulated") else ""
                yield f"\n[{event['seq']}] {event['step']}: `{escaped(payload['function'])}`{made}"
                if "fault" in payload:
                    yield _indented(f"it {escaped(payload['fault'])}", "  ! ")
                else:
                    yield _indented(json.dumps(payload["result"], ensure_ascii=False), "  > ")
            case "tool.done":
                yield f"\n[{event['seq']}] {step}: tool `{escaped(payload['name'])}` answers"
                if "fault" in payload:
                    yield _indented(payload["fault"], "  ! ")
                else:
                    yield _indented(told(payload["result"]), "  > ")
            case "step.accepted":
                yield f"[{event['seq']}] {step}: accepted (the answer of event {payload['call']})"
            case "step.rejected":
                which = step if "candidate" in payload else event["step"]
                yield (
                    f"[{event['seq']}] {which}: rejected by {payload['check']}: {escaped(payload['reason'])}"
                )
            case "sample.completed" | "sample.abandoned":
                yield from _ending(event, payload, order)
            case "sample.forgotten":
                yield (
                    f"\n[{event['seq']}] forgotten, with {plural(len(payload['events']), 'payload')} above: "
                    "no dataset has it, and no run makes it again"
                )


def _call(call: dict[str, Any]) -> str:
    return f"{call['name']}({json.dumps(call['arguments'], ensure_ascii=False)})"


def _gone(payload: dict[str, Any]) -> str:
    return f"forgotten: the payload had sha256 {payload['forgotten']}"


def _ending(event: dict[str, Any], payload: dict[str, Any], order: list[str]) -> Iterator[str]:
    cell = escaped(", ".join(f"{name} {label}" for name, label in payload["cell"].items()))
    place = f"`{payload['cohort']}`" + (f" ({cell})" if cell else "") + f", number {payload['ordinal'] + 1}"
    if event["kind"] == "sample.abandoned":
        yield f"\n[{event['seq']}] abandoned at {event['step']}: {escaped(payload['reason'])}; it was {place}"
        return
    made_from = f", made from {payload['of']}" if "of" in payload else ""
    yield f"\n[{event['seq']}] completed, {place}{made_from}"
    for step in order:
        value = payload["values"][step]
        if value is None:
            yield _indented(f"{step}: left out by its condition", "  ")
            continue
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        # Passages stand where they were looked up.
        if isinstance(value, list) and value and step not in payload["calls"]:
            what = "passages" if _is_passage(value[0]) else "messages" if _is_message(value[0]) else ""
            text = f"{len(value)} {what}" if what else text
        by = f"event {payload['calls'][step]}" if step in payload["calls"] else "no model"
        cut = ", cut off" if step in payload.get("cut", ()) else ""
        yield _indented(f"{step} ({by}{cut}): {text}", "  ")
        if (thought := payload.get("thoughts", {}).get(step)) is not None:
            yield _indented(f"thought: {thought}", "    ")
        yield from _beside(payload, step)


def _beside(payload: dict[str, Any], step: str) -> Iterator[str]:
    """What stands beside a step's value, and the candidates that it was picked from."""
    for name, value in payload["values"].items():
        if name.startswith(f"{step}."):
            yield _indented(f"{name}: {json.dumps(value, ensure_ascii=False)}", "    ")
    for attempt in payload.get("attempts", {}).get(step, ()):
        total = f", marks {attempt['marks']['total']}" if "marks" in attempt else ""
        became = "picked" if attempt.get("picked") else "stood" if attempt.get("stood", True) else "refused"
        yield (
            f"    attempt {attempt['attempt'] + 1}, candidate {attempt.get('candidate', 0) + 1} "
            f"(event {attempt['call']}{total}): {became}"
        )


def _is_passage(value: Any) -> bool:
    return isinstance(value, dict) and {"id", "document", "text"} <= value.keys()


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and {"role", "content"} <= value.keys()


def _who(payload: dict[str, Any]) -> str:
    identity = payload["identity"]
    revision = f"@{identity['revision']}" if identity.get("revision") else ""
    weights = f"#{identity['weights'][:12]}" if identity.get("weights") else ""
    return escaped(f"{identity['backend']}:{identity['id']}{revision}{weights} ({payload['engine']})")


def _indented(text: str, prefix: str) -> str:
    return "\n".join(prefix + line for line in text.split("\n"))
