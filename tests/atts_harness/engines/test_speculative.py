"""A record says which token-level speculative decoding an engine was started with."""

import pytest

from atts_harness.engines.managed import ManagedOptions, speculative


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (None, {}),
        ("--enable-prefix-caching --max-num-seqs 8", {}),
        (
            "--speculative-algorithm EAGLE --speculative-num-steps=3 --dtype half",
            {"speculative-algorithm": "EAGLE", "speculative-num-steps": "3"},
        ),
        (
            {"speculative_config": {"method": "ngram", "num_speculative_tokens": 4}},
            {"speculative-config": '{"method":"ngram","num_speculative_tokens":4}'},
        ),
        (["--speculative-bare", "--dtype", "half"], {"speculative-bare": ""}),
        (["--speculative-last"], {"speculative-last": ""}),
    ],
)
def test_flags_are_told_by_name(given, found):
    assert speculative(ManagedOptions(server_args=given)) == found


def test_a_backend_without_flags_has_none():
    assert speculative(ManagedOptions(dtype="float32")) == {}
