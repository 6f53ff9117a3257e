"""Lark's LALR automaton over one text, and what its stack does not tell: the statement that
is being read, the comments above it, and the brackets that are open.

Lark's interactive parser stops at the first token it refuses.  Here it goes on: tokens that
are not in the text can be fed, what was fed of a statement can be taken back, and reading
can go on anywhere.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

OPENERS = {"LBRACE": "RBRACE", "LPAR": "RPAR", "LSQB": "RSQB", "LESSTHAN": "MORETHAN"}
CLOSERS = frozenset(OPENERS.values())
BAD = "BAD"

_BAD_RUN = re.compile(r"\w+|(.)\1*", re.DOTALL)


class Automaton:
    """Reads `text`, which must end with a line end.

    `statement` has the tokens of the statement that is being read, without line ends;
    `docs` the comments that will document it; `open` the brackets around the next token,
    with the height of the stack under each; `previous` is the type of the last token.
    """

    def __init__(self, text: str, parser: Lark, most_open: int) -> None:
        from lark import Token
        from lark.parsers.lalr_analysis import Shift

        interactive = parser.parse_interactive(text, start="start")
        self._text = text
        self._most_open = most_open
        self._state = interactive.parser_state
        self._lexer = interactive.lexer_thread
        self._table = self._state.parse_conf.states
        self._shift = Shift
        self._token = Token
        self.statement: list[Token] = []
        self.docs: list[Token] = []
        self.open: list[tuple[Token, int]] = []
        self.previous = ""

    def advance(self) -> Token | None:
        """Feeds tokens until one is refused, which is returned, or the text is read.

        A token of type BAD stands for characters that are part of no token.  A bracket that
        is one too many deep has been fed already.
        """
        from lark.exceptions import UnexpectedCharacters, UnexpectedToken

        refused: Token
        try:
            for token in self._lexer.lex(self._state):  # type: ignore[no-untyped-call]
                self._state.feed_token(token)
                self._fed(token)
                if self.too_deep:
                    refused = token
                    return refused
            size = len(self._text)
            self._state.feed_token(self._token("$END", "", size, end_pos=size), True)
        except UnexpectedToken as fault:
            refused = fault.token
            return refused
        except UnexpectedCharacters as fault:
            return self._bad(fault.pos_in_stream or 0)
        return None

    @property
    def tree(self) -> Tree[Token]:
        """The tree of the whole text, once `advance` has returned None."""
        tree: Tree[Token] = self._state.value_stack[-1]
        return tree

    @property
    def bracket(self) -> str:
        """The type of the innermost open bracket, or ""."""
        return self.open[-1][0].type if self.open else ""

    @property
    def in_block(self) -> bool:
        """Whether statements stand here, in a block or at the top."""
        return not self.open or self.open[-1][0].type == "LBRACE"

    @property
    def at_start(self) -> bool:
        """Whether the next token begins a statement."""
        return not self.statement and self.in_block

    @property
    def too_deep(self) -> bool:
        return len(self.open) > self._most_open

    def accepts(self, *kinds: str, below: int = 0) -> bool:
        """Whether tokens of these types would be taken, from `below` states under the top."""
        stack = list(self._state.state_stack)
        if below:
            del stack[-below:]
        end_state = self._state.parse_conf.end_state
        for kind in kinds:
            while True:
                step = self._table[stack[-1]].get(kind)
                if step is None:
                    return False
                action, argument = step
                if action is self._shift:
                    stack.append(argument)
                    break
                if argument.expansion:
                    del stack[-len(argument.expansion) :]
                stack.append(self._table[stack[-1]][argument.origin.name][1])
                if kind == "$END" and stack[-1] == end_state:
                    return True
        return True

    def feed(self, kind: str, at: int) -> None:
        """Feeds an empty token that is not in the text.  It must be accepted."""
        token = self._token(kind, "", at, end_pos=at)
        self._state.feed_token(token)
        self._fed(token)

    def take_back(self) -> Token:
        """Takes back the token that was fed last, when no reduction has followed."""
        del self._state.state_stack[-1]
        token: Token = self._state.value_stack.pop()
        return token

    def pop(self) -> int:
        """Takes back the statement that was begun; returns how many of its parentheses and
        square brackets were open."""
        states, values = self._state.state_stack, self._state.value_stack
        if self.at_start and self.accepts("NAME"):
            # The statement before is complete, but is reduced only with the next token.
            self._state.feed_token(self._token("NAME", ""))
            self.take_back()
        height = len(states)
        while height > 1 and "statement" not in self._table[states[height - 1]]:
            height -= 1
        del states[height:], values[height - 1 :]
        depth = 0
        while self.open and self.open[-1][1] >= height:
            depth += self.open.pop()[0].type != "LESSTHAN"
        self.statement.clear()
        self.docs.clear()
        return depth

    def read_on(self, at: int) -> None:
        """Goes on at an offset of the text."""
        self._lexer.state.line_ctr.char_pos = at

    def _fed(self, token: Token) -> None:
        kind = self.previous = token.type
        if kind in OPENERS:
            self.open.append((token, len(self._state.state_stack) - 1))
        elif kind in CLOSERS and self.open:
            self.open.pop()
        if kind == "DOC":
            self.docs.append(token)
        elif kind == "_NL" or (kind in ("LBRACE", "COMMA") and self.in_block):
            if self.in_block:
                self.statement.clear()
        else:
            if kind == "RBRACE":
                self.statement.clear()
            self.docs.clear()
            self.statement.append(token)

    def _bad(self, start: int) -> Token:
        match = _BAD_RUN.match(self._text, start)
        run = match[0] if match else self._text[start]
        return self._token(BAD, run, start, end_pos=start + len(run))


def token_range(token: Token) -> tuple[int, int]:
    """The [start, end) of a token in the text that was read."""
    return token.start_pos or 0, token.end_pos or 0
