"""A model's own sampling defaults stay out of a run."""

import pytest
from atts_openai.drawing import NEUTRAL
from atts_openai.wire import sampling_fields, token_id

from atts_harness.backend import GenerateRequest, Sampling


def test_what_is_neutral_is_said():
    fields = sampling_fields(GenerateRequest(ids=(1,), max_tokens=4), NEUTRAL[0])
    assert (fields["top_k"], fields["min_p"], fields["repetition_penalty"]) == (-1, 0.0, 1.0)
    assert (fields["frequency_penalty"], fields["presence_penalty"]) == (0.0, 0.0)


def test_what_was_asked_for_wins():
    asked = Sampling(temperature=0.5, top_k=20, min_p=0.1)
    fields = sampling_fields(GenerateRequest(ids=(1,), max_tokens=4, sampling=asked), NEUTRAL[0])
    assert (fields["top_k"], fields["min_p"], fields["temperature"]) == (20, 0.1, 0.5)


@pytest.mark.parametrize("token", ["token_id:²", "token_id:٣", "token_id:" + "9" * 5000, "7", ""])
def test_a_token_that_names_no_id(token):
    assert token_id(token) is None
    assert token_id("token_id:37") == 37
