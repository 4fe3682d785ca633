"""Extraction by a model when a sample ends: a recorded call (kind `judge`) like any other.

The answer goes into the sample's record before that is committed. A call that fails for good, or
a reply that is not in the form asked for, leaves no answer: the record's note says why, and grading
counts it as `not extracted`. A sample that an earlier session finished without an answer is asked
for when the run is resumed; a call that is recorded is never made again.
"""

from __future__ import annotations

from dataclasses import dataclass

from atts_harness import neutral
from atts_harness.backend import Backend, GenerateReply, GenerateRequest, Sampling
from atts_harness.errors import AttsError, BackendError, EngineGoneError
from atts_harness.grading.extraction import LLM, Kind, extractors_of
from atts_harness.judging.llm import MOST_REPLY_TOKENS, endpoint, extract_answer, extract_request
from atts_harness.records import EXTRACTOR, NOT_EXTRACTED, CallKey, SampleRecord
from atts_harness.running.client import RunCalls, failure_of
from atts_harness.running.engine import Engine
from atts_harness.settings import RunOptions

logger = neutral.logger("atts_harness.running")

JUDGE = "judge"
FORM = 1
"""The form of the request, in place of a turn: another form is another call, and a run of an
earlier release (256 tokens a reply) can be continued."""


def open_extractor(options: RunOptions) -> Backend | None:
    """The endpoint that extracts answers, if the run's `extractor` names `llm`.

    Raises:
        SettingError: the environment does not name the endpoint.
        MissingExtraError: the `openai` package is not installed.
    """
    if LLM not in extractors_of(options.extractor):
        return None
    from atts_harness.judging.endpoint import EndpointBackend

    return EndpointBackend(endpoint(), options.timeout)


@dataclass(frozen=True)
class Extraction:
    """Extracts answers with a model.

    Attributes:
        engine: the endpoint, with slots of its own.
        calls: through which calls are made and recorded.
    """

    engine: Engine
    calls: RunCalls

    async def extract(self, record: SampleRecord, kind: Kind) -> None:
        """Put the model's answer into a finished sample's record, or a note that says why not.

        Args:
            record: the sample; has not failed.
            kind: kind of the answer.

        Raises:
            JournalError: the journal cannot be written, or holds another request.
        """
        tokenizer = self.engine.backend.tokenizer
        request = GenerateRequest(
            ids=tokenizer.encode(extract_request(record.text, kind)),
            max_tokens=MOST_REPLY_TOKENS,
            sampling=Sampling(temperature=0.0),
        )
        key = CallKey(record.id, JUDGE, EXTRACTOR, FORM)
        try:
            call = await self.calls.make(self.engine, key, request)
            if not isinstance(call.reply, GenerateReply):
                raise failure_of(call)
            text = tokenizer.decode(call.reply.ids)
            answer = extract_answer(text, kind, cut=call.reply.ending == "length")
        except (BackendError, EngineGoneError) as error:
            self._note(record, error)
        else:
            record.answers[LLM] = answer
            record.notes.pop(NOT_EXTRACTED, None)

    def _note(self, record: SampleRecord, error: AttsError) -> None:
        record.notes[NOT_EXTRACTED] = f"{type(error).__name__}: {error}"
        id_ = record.id
        logger.warning(
            "%s/%d/%d: no answer by the llm extractor: %s", id_.task, id_.doc, id_.repeat, error
        )
