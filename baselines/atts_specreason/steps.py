"""Steps as text and as segments: markers, blank lines, and the end of thinking taken out."""

from __future__ import annotations

from dataclasses import replace

from atts_harness.tokenizer import Tokenizer
from atts_harness.transcript import Piece, Segment, Transcript, inserted

MARKERS = ("boxed", "Answer:", "ANSWER:")
THINK_CLOSE = "</think>"


def has_marker(step: Segment) -> bool:
    """Whether a step seems to hold an answer: the published substrings, wherever they stand."""
    return any(marker in step.text for marker in MARKERS)


def without_think_close(step: Segment, tokenizer: Tokenizer) -> Segment:
    """The step with every `</think>` deleted; its ids too, in the author's vocabulary."""
    if THINK_CLOSE not in step.text:
        return step
    pieces: list[Piece] = []
    for piece in step.pieces:
        text = piece.text.replace(THINK_CLOSE, "")
        if text:
            pieces.append(Piece(text, piece.named))
    id_ = tokenizer.named.get(THINK_CLOSE)
    if id_ is not None and id_ in (step.ids or ()):
        ids = tuple(known for known in step.ids or () if known != id_)
    else:
        ids = ()
        for piece in pieces:
            named = tokenizer.named.get(piece.text) if piece.named else None
            ids += tokenizer.encode(piece.text) if named is None else (named,)
    return replace(step, pieces=tuple(pieces), ids=ids)


def with_step(
    transcript: Transcript, step: Segment, stop: str, *, after_eos: bool, always: bool
) -> Transcript:
    """The transcript with a step behind it, and a blank line where the step has none of its own.

    Args:
        transcript: what stands.
        step: possibly empty.
        stop: what separates steps.
        after_eos: put it behind a step that closed its turn; else the next call would begin where
            this one chose to end.
        always: put it behind a step that was cut, too, as published.
    """
    longer = transcript + step
    if step.text.endswith(stop):
        return longer
    if always or (after_eos and step.ending == "eos"):
        return longer + inserted(stop, turn=step.turn)
    return longer
