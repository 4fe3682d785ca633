"""What `generate_until` returns: the text that graders see, with the sample's record beside it."""

from __future__ import annotations

from typing import Self

from atts_harness.records import SampleRecord


class Answer(str):
    """A sample's text.

    A sample that failed for good is an empty text, so that no grader can find an answer in its
    remains; what it had written stands in the record.

    Attributes:
        record: the sample, with its turns, decisions and cost.
    """

    record: SampleRecord

    @classmethod
    def of(cls, record: SampleRecord) -> Self:
        """The answer that a finished sample amounts to."""
        answer = cls("" if record.failed is not None else record.text)
        answer.record = record
        return answer
