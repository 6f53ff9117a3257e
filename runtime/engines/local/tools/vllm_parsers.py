"""vLLM's own parsers of calls, for the forms that are read by none of ours."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from synth.base.errors import EngineError
from synth.base.suggest import some_of, suggest
from synth.runtime.engines.base import ToolCall
from synth.runtime.engines.tool_calls import Malformed, call_of, shown


class VllmParser:
    """One of vLLM's parsers by its name.  A text that it reads no call in, though the chat template's `mark`
    of a call is there, begins one that cannot be read.  Raises EngineError for a name that vLLM does not
    know, and for a parser that does not fit the tokenizer."""

    def __init__(self, name: str, tokenizer: Any, mark: str, model: str) -> None:
        from vllm.tool_parsers import ToolParserManager

        # They log what they cannot read, with a traceback each time.
        for place in ("vllm.tool_parsers", "vllm.parser"):
            logging.getLogger(place).setLevel(logging.CRITICAL + 1)
        names = ToolParserManager.list_registered()
        if name not in names:
            guess = suggest(name, names)
            known = f"did you mean `{guess}`?" if guess else f"there is {some_of(dict.fromkeys(names))}"
            raise EngineError(f"model `{model}`: vLLM has no `tool_parser` named `{name}`; {known}")
        self._name, self._tokenizer, self._mark = name, tokenizer, mark
        try:
            self._kind = ToolParserManager.get_tool_parser(name)
            probe: Mapping[str, Any] = {"name": "probe", "parameters": {"type": "object", "properties": {}}}
            parser, request = self._made([{"type": "function", "function": probe}])
            self.keeps_special = parser.adjust_request(request).skip_special_tokens is False
        except Exception as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise EngineError(
                f"model `{model}`: vLLM's `tool_parser` `{name}` does not fit this model: {why}"
            ) from error

    def read(self, text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[str, Sequence[ToolCall]] | None:
        try:
            parser, request = self._made(tools)
            found = parser.extract_tool_calls(text, request)
            called, said, given = found.tools_called, found.content, list(found.tool_calls)
        except Exception as error:
            raise Malformed(f"vLLM's parser `{self._name}` fails ({type(error).__name__})") from None
        if not called:
            if self._mark and self._mark in text:
                raise Malformed(
                    f"vLLM's parser `{self._name}` reads no call in what has `{shown(self._mark)}` in it"
                )
            return None
        calls = [
            call_of(each.function.name, each.function.arguments, number)
            for number, each in enumerate(given, 1)
        ]
        return said or "", calls

    def _made(self, tools: Sequence[Mapping[str, Any]]) -> tuple[Any, Any]:
        """A parser for one answer, which keeps what it saw, and the request that it is to go by."""
        from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

        request = ChatCompletionRequest(messages=[], model="", tools=[dict(tool) for tool in tools])
        return self._kind(self._tokenizer, request.tools), request
