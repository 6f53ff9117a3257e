"""Options of models on this machine: how long an answer may take, what their chat template is given, and who
reads their calls of tools."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from synth.runtime.engines.base import LONGEST_S, WaitOptions
from synth.runtime.engines.local.chat_template import ChatTemplate
from synth.runtime.engines.local.tools.forms import FORMS
from synth.runtime.engines.local.tools.template import FormParser, Parser, TemplateTools, ToolReader


class LocalOptions(WaitOptions):
    """Options of every model on this machine: slow ones have half an hour for an answer."""

    timeout: Annotated[float, Field(gt=0, le=LONGEST_S)] = 1800.0


class ChatOptions(LocalOptions):
    """Options of every model on this machine that chats.

    `chat_template_kwargs` are what the chat template is given besides the conversation, and
    `reasoning` is how much the model is to think, where its template has a switch for that.  With
    `omit = ["system"]` what a system message says opens the first message.  `tool_parser` names the form
    of a model's calls of tools, where that is not to be seen in its template.
    """

    chat_template_kwargs: dict[str, JsonValue] = Field(default_factory=dict)
    reasoning: str | None = None
    omit: tuple[Literal["system"], ...] = ()
    tool_parser: str | None = None

    def template(self, tokenizer: Any) -> ChatTemplate:
        """The tokenizer's chat template with what is set here.  Raises EngineError."""
        plain = ChatTemplate(tokenizer)
        if not self.model_fields_set & ChatOptions.model_fields.keys():
            return plain
        return ChatTemplate(tokenizer, self._arguments(plain.text), system="system" not in self.omit)

    def tools(self, template: ChatTemplate, model: str) -> ToolReader | str:
        """What tells calls of tools in answers, or why nothing does, with what there is to do: a clause that
        goes on with another remedy.

        Raises EngineError for a parser that there is not, or that does not fit the model.
        """
        if template.tools is None:
            return "whose chat template takes no tools: "
        parser = self.parser(template, template.tools, model)
        if parser is None:
            return (
                "whose form of calls is not known: name their parser, `tool_parser` under "
                f"[models.{model}] of synth.toml, or "
            )
        return ToolReader(parser, single=template.tools.single, plain=template.plain)

    def parser(self, template: ChatTemplate, tools: TemplateTools, model: str) -> Parser | None:
        """That of `tool_parser`, else of the form in which the template itself writes calls."""
        form = tools.form if self.tool_parser is None else FORMS.get(self.tool_parser)
        return None if form is None else FormParser(form, template.special)

    def request(self, template: str) -> dict[str, JsonValue] | None:
        """What is set here and changes what is asked; None where nothing does."""
        given: dict[str, JsonValue] = {
            "chat_template_kwargs": self._arguments(template),
            "omit": list(self.omit),
            "tool_parser": self.tool_parser,
        }
        return {name: value for name, value in given.items() if value} or None

    def notes(self, template: str) -> tuple[str, ...]:
        """What is said here and changes nothing."""
        idle = [f"`{name}`" for name in self.chat_template_kwargs if not _names(template, name)]
        if self.reasoning is not None and not switches(template, self.reasoning):
            idle.append(f"`reasoning = {self.reasoning}`")
        return (f"its chat template does not know {' and '.join(idle)}",) if idle else ()

    def _arguments(self, template: str) -> dict[str, JsonValue]:
        given = {} if self.reasoning is None else switches(template, self.reasoning)
        return {**given, **self.chat_template_kwargs}


def switches(template: str, reasoning: str) -> dict[str, JsonValue]:
    """The arguments by which a chat template is told how much to think, as far as it has such ones."""
    thinks = reasoning != "none"
    known: dict[str, JsonValue] = {name: thinks for name in _THINKING if _names(template, name)}
    # Templates with levels and no way to think not at all know `low` as their least.
    if _names(template, "reasoning_effort"):
        known["reasoning_effort"] = reasoning if thinks else "low"
    return known


def _names(template: str, name: str) -> bool:
    """Whether a chat template's statements mention a variable."""
    variable = re.compile(rf"""(?<![.\w'"]){re.escape(name)}(?![\w'"])""")
    return any(variable.search(statement[0]) for statement in _STATEMENT.finditer(template))


_THINKING = ("enable_thinking", "thinking")
_STATEMENT = re.compile(r"\{[%{].*?[%}]\}", re.DOTALL)
