"""A value of another type than is wanted: how what was meant is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from synth.compiler.plan.types import Type
from synth.dsl.syntax import Boolean, Call, Duration, Expression, Integer, Number, Ratio, Text

_TRUTHS: Mapping[str, str] = {
    **dict.fromkeys(("true", "yes", "on", "1"), "true"),
    **dict.fromkeys(("false", "no", "off", "0"), "false"),
}
_PLAIN: Mapping[str, re.Pattern[str]] = {
    "count": re.compile(r"\d[\d_]*"),
    "number": re.compile(r"-?\d[\d_]*(\.\d+)?"),
    "ratio": re.compile(r"\d[\d_]*(\.\d+)?%"),
    "range": re.compile(r"-?\d+(\.\d+)?\.\.(-?\d+(\.\d+)?)?|\.\.-?\d+(\.\d+)?"),
    "duration": re.compile(r"\d[\d_]*(\.\d+)?(ms|s|m|h)"),
}

# What other tools call the forms of rows, and where models run.
FORMS: Mapping[str, str] = {
    **dict.fromkeys(("dpo", "orpo", "ipo", "cpo", "simpo", "rlhf", "pairs", "reward"), "preference"),
    **dict.fromkeys(("kto", "labelled", "labeled"), "unpaired"),
    **dict.fromkeys(("ultrafeedback", "rankings", "listwise", "lipo"), "ranked"),
    **dict.fromkeys(("sft", "instruction", "instructions", "alpaca", "completion"), "prompt_completion"),
    **dict.fromkeys(("chat", "chatml", "openai", "conversational", "conversations"), "messages"),
}
_COMPATIBLE: Mapping[str, str] = {
    "ollama": "http://localhost:11434/v1",
    **dict.fromkeys(("llamacpp", "llama_cpp", "llama"), "http://localhost:8080/v1"),
    **dict.fromkeys(("lmstudio", "lm_studio"), "http://localhost:1234/v1"),
    **dict.fromkeys(("sglang", "tgi", "litellm", "localai"), "http://localhost:8000/v1"),
    **dict.fromkeys(
        (
            "anthropic",
            "claude",
            "mistral",
            "groq",
            "together",
            "openrouter",
            "deepseek",
            "fireworks",
            "azure",
            "xai",
        ),
        "https://.../v1",
    ),
}
_BACKENDS: Mapping[str, str] = {
    **dict.fromkeys(("hf", "huggingface", "hub", "local", "pipeline"), "transformers"),
    **dict.fromkeys(("google", "genai", "vertex", "vertexai"), "gemini"),
    **dict.fromkeys(("gpt", "chatgpt"), "openai"),
    **dict.fromkeys(("mock", "fake", "dummy", "test"), "simulated"),
}


def written_as(expression: Expression, wanted: Type) -> str:
    """A hint that has the value as the type wants it, or `""`."""
    if wanted.name == "list" and wanted.arguments:
        inner = wanted.arguments[0]
        fits = isinstance(expression, Text) if inner.name == "text" else bool(_one(expression, inner))
        return (
            f"a list stands in brackets: `[{expression.span.text}]`" if fits and _is_short(expression) else ""
        )
    meant = _one(expression, wanted)
    return meant if meant.startswith("`..") or not meant else f"write `{meant}`"


def _one(expression: Expression, wanted: Type) -> str:
    plain = (expression.plain or "").strip() if isinstance(expression, Text) else None
    match wanted.name:
        case "enum" if plain in wanted.words:
            return str(plain)
        case "boolean":
            text = plain if plain is not None else expression.span.text
            return _TRUTHS.get(text.lower(), "")
        case "ratio":
            return _ratio(plain if plain is not None else expression.span.text)
        case "duration" if isinstance(expression, Integer | Number):
            return f"{expression.span.text}s"
        case "range" if isinstance(expression, Integer) or (plain is not None and plain.isdecimal()):
            end = plain or expression.span.text
            return f"`..{end}` is at most so many, `{end}..` at least, `{end}..{end}` exactly"
        case "number" if isinstance(expression, Ratio):
            return f"{(expression.percent / 100).normalize():f}"
        case "count" if isinstance(expression, Number):
            nearest = max(round(expression.value), int(wanted.low or 0))
            return str(nearest if wanted.high is None else min(nearest, int(wanted.high)))
        case "text" if isinstance(expression, Integer | Number | Ratio | Duration | Boolean):
            return f'"{expression.span.text}"'
    pattern = _PLAIN.get(wanted.name)
    return plain if plain and pattern is not None and pattern.fullmatch(plain) else ""


def meant_by(text: str, wanted: Type) -> str:
    """The same of a text of the command line: what it is as the type, or `""`."""
    if wanted.name == "ratio":
        return _ratio(text)
    if wanted.name == "boolean":
        return _TRUTHS.get(text.lower(), "")
    return f"{text}s" if wanted.name == "duration" and _PLAIN["number"].fullmatch(text) else ""


def counted(name: str) -> str:
    """The number that a name such as `x5` was meant to be, or `""`."""
    match = re.fullmatch(r"[xX](\d+)|(\d+)[xX]", name)
    return (match[1] or match[2]) if match is not None else ""


def of_marks(what: str, written: str) -> str:
    """A hint on a rubric that stands where a value does: where its marks are, or `""`."""
    if what != "rubric":
        return ""
    mark = written if "." in written else f"{written}.total"
    return (
        f"marks stand beside the answer that is marked, as in `answer.{mark}`; a `check` goes by them with "
        f"`marked({mark}, 4..)`"
    )


def declared_as(written: Expression) -> str:
    """A hint on a model that is written where one is named: how it is declared, or `""`."""
    place = written.span.text
    if isinstance(written, Text):
        id_ = (written.plain or "").lower()
        backend_ = "gemini" if id_.startswith("gemini") else "vllm" if "/" in id_ else "openai"
        place = f"{backend_}({place})"
    elif not isinstance(written, Call):
        return ""
    return f"declare it, as in `model author: model<chat> from {place}`, and write `by author`"


def _ratio(text: str) -> str:
    if _PLAIN["ratio"].fullmatch(text):
        return text
    try:
        value = Decimal(text.replace("_", ""))
    except InvalidOperation:
        return ""
    if not value.is_finite() or not 0 <= value <= 100:
        return ""
    return f"{(value * 100 if value <= 1 else value).normalize():f}%"


def _is_short(expression: Expression) -> bool:
    return len(expression.span.text) <= 40 and "\n" not in expression.span.text


def backend(written: str, model: str, id_: str) -> str:
    """A hint on where a model runs that another tool's word names, or `""`."""
    word = written.lower()
    if word in _BACKENDS:
        return f"it is called `{_BACKENDS[word]}`"
    if word not in _COMPATIBLE:
        return ""
    return (
        f"write `from openai({id_})`, which is any server that speaks its protocol, with "
        f'`base_url = "{_COMPATIBLE[word]}"` below `[models.{model}]` in synth.toml'
    )
