"""What is taken for the address of a server, and what is said of anything else."""

import pytest

from atts_harness.engines.address import address, base_address
from atts_harness.errors import SettingError


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000"),
        ("https://host/team/v1", "https://host/team"),
        ("https://host/v1beta", "https://host/v1beta"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        (" http://host ", "http://host"),
    ],
)
def test_the_api_is_no_part_of_an_address(given, base):
    assert base_address(given, "target_url") == base


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("localhost:8000", "write http://localhost:8000"),
        ("//host:1", "write http://host:1"),
        ("ftp://host:1", "is not an address"),
        ("http://", "names no host"),
        ("http://:8000", "names no host"),
        ("http://host:port", "write http://HOST:PORT"),
        ("http://host:99999", "write http://HOST:PORT"),
        ("http://::1:8000", "stands in brackets"),
        ("http://[::1:8000", "write http://HOST:PORT"),
    ],
)
def test_what_is_no_address_is_one_line_with_what_to_write(given, said):
    with pytest.raises(SettingError, match=said) as caught:
        base_address(given, "draft_url")
    assert str(caught.value).startswith("draft_url: ")
    assert "\n" not in str(caught.value)


def test_an_ipv6_address_is_written_in_brackets():
    assert address("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert address("::1", 80) == "http://[::1]:80"
