"""Decided turns and samples for audits."""

from atts_harness.records import (
    DecisionRecord,
    SampleId,
    SampleRecord,
    SegmentRecord,
)


def sample_of(turns, doc=0, repeat=0):
    """A sample from (draft, took over, what the target wrote) triples."""
    id_ = SampleId("t", doc, repeat)
    segments, decisions = [], []
    for turn, (draft, takeover, written) in enumerate(turns):
        for author, kind, text in (("draft", "draft", draft), ("target", "takeover", written)):
            if text:
                segments.append(
                    SegmentRecord(
                        author=author, text=text, tokens=1, turn=turn, kind=kind, ending="length"
                    )
                )
        decisions.append(
            DecisionRecord(
                sample=id_,
                turn=turn,
                takeover=takeover,
                reason="p-value",
                nonconformity=1.0,
                p_value=0.1 if takeover else 0.9,
                threshold=0.4,
            )
        )
    return SampleRecord(
        id=id_, strategy="atts", text="", finish="answer", segments=segments, decisions=decisions
    )
