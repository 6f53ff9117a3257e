"""Pass: rules that hold between declarations.  Reads Bound, reports, changes nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

from synth.base.diagnostics.diagnostic import Diagnostic, Diagnostics, Label
from synth.base.diagnostics.source import Span
from synth.compiler.alternation import check_turns
from synth.compiler.bind.blocks.bound import Bound, Conversation, Evaluation, Model, Rubric, Step
from synth.compiler.outside.backends import BACKENDS
from synth.compiler.plan.models import ModelPlan
from synth.compiler.plan.types import CAPABILITIES
from synth.compiler.stdlib.render import references


def check(bound: Bound, diagnostics: Diagnostics) -> None:
    """Runs every rule over every conversation and every evaluation."""
    for conversation in bound.conversations.values():
        for step in conversation.steps:
            _capabilities(step, bound, diagnostics)
            _template(step, conversation, diagnostics)
            _context(step, diagnostics)
            _personas(step, conversation, diagnostics)
            _checks_without_retry(step, diagnostics)
        check_turns(conversation, diagnostics)
        _provenance(conversation, bound, diagnostics)
    for tool in bound.tools.values():
        if tool.played is not None:
            _capabilities(tool.played, bound, diagnostics)
            _template(tool.played, None, diagnostics)
            _context(tool.played, diagnostics)
    for rubric in bound.rubrics.values():
        _judges(rubric, bound, diagnostics)
    for evaluation in bound.evaluations.values():
        _asked_of(evaluation, bound, diagnostics)


def _capabilities(step: Step, bound: Bound, diagnostics: Diagnostics) -> None:
    """E401, E404: a model can do what the step asks of it.  A chat model sees the transcript as messages; to
    speak as the user it is told so in a prompt, or needs a chat template that is known."""
    model = step.model
    if model is None or step.model_span is None:
        return
    wanted = ["chat"]
    if step.output.name == "json":
        wanted.append("json")
    if step.calling.span is not None:
        wanted.append("tools")
    for word in wanted:
        if word not in model.plan.capabilities:
            verb = {"json": "produce json", "tools": "call tools"}.get(word, "chat")
            diagnostics.add(
                Diagnostic(
                    "E401",
                    f"`{model.plan.name}` cannot {verb}",
                    step.model_span,
                    secondary=(_declared_with(model),),
                    hint=_able(model, word, bound),
                )
            )
    for name in dict.fromkeys(str(c.arguments["judge"]) for c in step.checks if "judge" in c.arguments):
        judge = bound.models[name]
        if "json" not in judge.plan.capabilities:
            diagnostics.add(
                Diagnostic(
                    "E401",
                    f"`{name}` cannot produce json, which a judge's verdict is",
                    step.span,
                    secondary=(_declared_with(judge),),
                    hint=_able(judge, "json", bound),
                )
            )
    if step.sees == "template" and not answers_as_user(model.plan):
        diagnostics.add(
            Diagnostic(
                "E404",
                f"`{step.name}` goes on in a chat template, and that of `{model.plan.name}` is not known",
                step.sees_span or step.model_span,
                secondary=(_declared_with(model),),
                hint="take a local model with `template`, or ask for it in a `prompt`",
            )
        )
    speaks = step.sees == "transcript" and step.role == "user" and step.prompt is None
    if speaks and not answers_as_user(model.plan):
        diagnostics.add(
            Diagnostic(
                "E404",
                f"`{step.name}` is a user's turn, and `{model.plan.name}` would answer as the model",
                step.sees_span or step.model_span,
                secondary=(_declared_with(model),),
                hint="who speaks is the chat template's to say, and only a model with `template` shows it: "
                + (
                    "say in a `prompt` who the user is, and the turns are shown with it"
                    if step.system is None
                    else "write `prompt` in place of `system`, and the turns are shown with it"
                ),
            )
        )


def _judges(rubric: Rubric, bound: Bound, diagnostics: Diagnostics) -> None:
    """E401: those who mark by a rubric can give the JSON that marks are."""
    for judge in rubric.judges:
        lacking = next((word for word in ("chat", "json") if word not in judge.plan.capabilities), None)
        if lacking is not None:
            verb = "produce json, which marks are" if lacking == "json" else "chat"
            diagnostics.add(
                Diagnostic(
                    "E401",
                    f"`{judge.plan.name}` cannot {verb}",
                    rubric.judges_span,
                    secondary=(_declared_with(judge),),
                    hint=_able(judge, lacking, bound),
                )
            )


def answers_as_user(model: ModelPlan) -> bool:
    """Whether a model can go on with a conversation as its user: where its chat template is known, and
    in simulations."""
    return "template" in model.capabilities or model.backend == "simulated"


def _asked_of(evaluation: Evaluation, bound: Bound, diagnostics: Diagnostics) -> None:
    """E401: students and judges can do what a measure asks of them."""
    for measure, place in zip(evaluation.plan.measures, evaluation.places, strict=True):
        wanted = {"student": ("chat", "chat"), "judge": ("json", "produce json, which a judge's verdict is")}
        if measure.name == "perplexity":
            wanted["student"] = ("logprobs", "give logprobs, which `perplexity` is made from")
        for role, (word, what) in wanted.items():
            model = bound.models.get(str(measure.arguments.get(role)))
            if model is not None and word not in model.plan.capabilities:
                diagnostics.add(
                    Diagnostic(
                        "E401",
                        f"`{model.plan.name}` cannot {what}",
                        place,
                        secondary=(_declared_with(model),),
                        hint=_able(model, word, bound, f"{role} = "),
                    )
                )


# The first two generations of Gemma refuse a system message; the third puts it into the first
# user turn.
_NO_SYSTEM = re.compile(r"gemma-(?:2-)?\d+b|gemma-1\.1", re.IGNORECASE)
# None of the first three has a place for tools.
_NO_TOOLS = re.compile(r"(?<!function)gemma-(?:[123]n?-)?e?\d+[bm]\b|gemma-1\.1", re.IGNORECASE)


def _template(step: Step, conversation: Conversation | None, diagnostics: Diagnostics) -> None:
    """E403: a system text or tools for a model whose chat template has no place for them."""
    model = step.model
    if (
        model is not None
        and step.calling.span is not None
        and model.plan.backend != "openai"
        and _NO_TOOLS.search(model.plan.id)
    ):
        diagnostics.add(
            Diagnostic(
                "E403",
                f"`{step.name}` has tools, and `{model.plan.name}` has no place for them in its template",
                step.calling.span,
                secondary=(Label(model.call_span, "this model"),),
                hint="take a model that is trained to call them, such as Qwen 3 or Llama 3.1",
            )
        )
    turns = conversation.steps if conversation is not None else ()
    sees = step.sees == "transcript" and any(turn.role == "system" for turn in turns)
    if model is None or (step.system is None and not sees) or not _NO_SYSTEM.search(model.plan.id):
        return
    verb = "gives" if step.system is not None else "sees"
    diagnostics.add(
        Diagnostic(
            "E403",
            f"`{step.name}` {verb} a system text, and `{model.plan.name}` has no system role in its template",
            step.model_span,
            secondary=(Label(model.call_span, "this model"),),
            hint="put what `system` says at the head of `prompt`",
        )
    )


def _context(step: Step, diagnostics: Diagnostics) -> None:
    """E405: more tokens asked for than the model has room for, where its config lies at hand."""
    model, wanted = step.model, step.sampling.max_tokens
    if model is None or wanted is None:
        return
    room = _context_length(model.plan.id)
    if room is not None and wanted >= room:
        diagnostics.add(
            Diagnostic(
                "E405",
                f"`{step.name}` may take {wanted} tokens, and `{model.plan.name}` has room for {room} in all",
                step.span,
                secondary=(Label(model.call_span, "this model"),),
                hint=f"ask for fewer: `max_tokens = {max(1, room // 2)}`",
            )
        )


def _context_length(model: str) -> int | None:
    """The context of a model in a local folder, in tokens."""
    try:
        config = json.loads((Path(model) / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    config = config.get("text_config", config) if isinstance(config, dict) else {}
    length = config.get("max_position_embeddings")
    return length if isinstance(length, int) else None


def _personas(step: Step, conversation: Conversation, diagnostics: Diagnostics) -> None:
    """W702: how the user speaks, told to the model that answers."""
    if step.role != "model":
        return
    personas = {draw.name: draw for draw in conversation.draws if draw.personas}
    for template in (step.system, step.prompt):
        for name in references(template):
            if name in personas:
                diagnostics.add(
                    Diagnostic(
                        "W702",
                        f"`{name}` is how the user speaks, and `{step.name}` is a model turn",
                        step.span,
                        secondary=(Label(personas[name].span, "drawn from personas"),),
                        hint="quote it in the user's turn; the model hears it from there",
                    )
                )


def _able(model: Model, word: str, bound: Bound, before: str = "by ") -> str:
    """How to get a capability: by claiming it, or from a model that has it, which is written after
    `before`."""
    ways = []
    if word in BACKENDS[model.plan.backend].capabilities:
        claimed = ", ".join(
            capability for capability in CAPABILITIES if capability in (*model.plan.capabilities, word)
        )
        ways.append(f"{model.plan.backend} can: declare `model<{claimed}>`")
    other = next(
        (name for name, candidate in bound.models.items() if word in candidate.plan.capabilities), None
    )
    if other is not None:
        ways.append(f"write `{before}{other}`")
    return ", or ".join(ways)


def _declared_with(model: Model) -> Label:
    return Label(model.type_span, f"declared with {' and '.join(model.plan.capabilities) or 'nothing'} only")


def _provenance(conversation: Conversation, bound: Bound, diagnostics: Diagnostics) -> None:
    """E505: where a recipe declares a frozen model, only its own words are trained on."""
    frozen = [model for model in bound.models.values() if model.frozen]
    if not frozen:
        return
    spans: dict[str, Span] = dict(zip(conversation.train_on, conversation.train_on_spans, strict=True))
    for step in conversation.steps:
        if step.name not in spans or (step.model is not None and step.model.frozen):
            continue
        who = f"`{step.model.plan.name}` writes it" if step.model is not None else "no model writes it"
        diagnostics.add(
            Diagnostic(
                "E505",
                f"`{step.name}` is trained on, and {who}",
                spans[step.name],
                secondary=(Label(frozen[0].span, "the frozen model, whose words are to be learned"),),
                hint=f"let `{frozen[0].plan.name}` write it, or leave it out of `train_on`",
            )
        )


def _checks_without_retry(step: Step, diagnostics: Diagnostics) -> None:
    """W703: a check that fails drops the whole sample when there is no second try and no other candidate."""
    if step.model is not None and step.checks and step.retry == 0 and step.choosing.candidates == 1:
        diagnostics.add(
            Diagnostic(
                "W703",
                f"`{step.name}` has checks and no `retry`, so each failure costs a whole sample",
                step.span,
                hint="for example `retry = 3`",
            )
        )
