"""One step as the scheduler plans it: ints and lists, one entry per sequence. Knows no arrays and no areas."""

from __future__ import annotations

from dataclasses import dataclass, field

from serving.engine.sequence import Sequence
from serving.link.step import StepKind


@dataclass(slots=True)
class StepPlan:
    """What the next step runs. Lists are per sequence except `input_ids`, which holds all tokens end to end."""

    kind: StepKind
    sequences: list[Sequence] = field(default_factory=list)
    input_ids: list[int] = field(default_factory=list)
    query_lengths: list[int] = field(default_factory=list)
    context_lengths: list[int] = field(default_factory=list)
    token_source: list[int] = field(default_factory=list)  # -1, or index in the step before whose token is the input
    samples: list[bool] = field(default_factory=list)  # False for a chunk that does not end its prompt
    logits_rows: list[int] = field(default_factory=list)  # sequences whose full logits are to be kept
    has_sources: bool = False
    plain: bool = True  # every sequence is plain greedy

    def add(self, sequence: Sequence, query_length: int, source: int = -1) -> None:
        """Append one sequence and move it on by `query_length` tokens; the caller extends `input_ids`."""
        context_length = sequence.num_cached + query_length
        samples = context_length >= len(sequence.ids)
        if sequence.request.capture is not None and samples and sequence.wants_logits(context_length - 1):
            self.logits_rows.append(len(self.sequences))
        sequence.num_cached = context_length
        sequence.in_flight += 1
        sequence.last_index = len(self.sequences)
        self.sequences.append(sequence)
        self.query_lengths.append(query_length)
        self.context_lengths.append(context_length)
        self.token_source.append(source)
        self.samples.append(samples)
        if source >= 0:
            self.has_sources = True
        if not sequence.plain:
            self.plain = False
