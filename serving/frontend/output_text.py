"""One request's tokens as text: detokenised, cut at stop strings, counted. Knows no wire protocol."""

from __future__ import annotations

from collections.abc import Sequence

from serving.engine.request import GenerationRequest, Token
from serving.frontend.stop_strings import StopStrings
from serving.tokenizer.tokenizer import Detokenizer


class OutputText:
    """Gives each token its piece of the text; the pieces, concatenated, are the whole text.

    A token that ends the sequence (EOS, stop token) has no text. The last possible token brings what was still
    waiting (an unfinished character as U+FFFD, the beginning of a stop string), so that nothing is due after it.
    """

    __slots__ = ("_detokenizer", "_ends", "_last_index", "_stops", "num_tokens", "stopped")

    def __init__(self, request: GenerationRequest, detokenizer: Detokenizer, stop: Sequence[str]) -> None:
        eos = () if request.sampling.ignore_eos else request.eos_token_ids
        self._ends = frozenset((*eos, *request.stop_token_ids))
        self._last_index = request.sampling.max_new_tokens - 1
        self._detokenizer = detokenizer
        self._stops = StopStrings(stop) if stop else None
        self.num_tokens = 0  # up to and with the one that completed a stop string
        self.stopped = False  # a stop string was found: whatever comes now is not part of the answer

    def push(self, token: Token) -> str:
        """The token's piece of text, often empty inside a character or a possible stop string."""
        self.num_tokens += 1
        ends = token.token_id in self._ends
        text = "" if ends else self._detokenizer.push(token.token_id)
        is_last = ends or token.index == self._last_index
        if is_last:
            text += self._detokenizer.flush()
        stops = self._stops
        if stops is not None:
            text = stops.push(text)
            self.stopped = stops.found
            if is_last:
                text += stops.flush()
        return text

    def is_cut_by_length(self, token: Token) -> bool:
        """Whether generation ends with this token for no other reason than max_new_tokens."""
        return token.index == self._last_index and token.token_id not in self._ends and not self.stopped
