"""Cells are told where their servers are, and nothing of how those were started."""

import pytest

from atts_harness.comparing.reaching import reaching

ADDRESSES = {"draft_url": "http://h:1", "target_url": "http://h:2", "draft_backend": "sglang"}
PAIR = {
    "backend": "vllm",
    "draft_backend": "sglang",
    "draft": "org/small",
    "target": "org/large",
    "dtype": "bfloat16",
    "draft_tp_size": 2,
    "target_devices": "1+2",
    "target_server_args": "--seed 1",
    "max_length": 4096,
    "rate": 0.4,
}


def test_what_a_server_was_started_with_is_not_said_again():
    found = reaching("atts", PAIR, ADDRESSES)
    left_out = {"dtype", "draft_tp_size", "target_devices", "target_server_args"}
    assert found == {k: v for k, v in PAIR.items() if k not in left_out} | ADDRESSES


def test_a_role_in_the_cells_own_process_keeps_its_settings():
    pair = {**PAIR, "draft_backend": "transformers", "draft_device": "cpu"}
    found = reaching("atts", pair, {"target_url": "http://h:2"})
    assert (found["dtype"], found["draft_device"]) == ("bfloat16", "cpu")
    assert "target_devices" not in found


@pytest.mark.parametrize("further", [{}, {"rate_of": "cell"}])
def test_without_servers_everything_stays(further):
    assert reaching("atts", PAIR, further) == PAIR | further
