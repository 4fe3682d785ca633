import pytest

from atts_harness.errors import SettingError
from atts_harness.values import convert


@pytest.mark.parametrize("value", [str(1 << 63), 1 << 63, -(1 << 63) - 1])
def test_a_number_that_no_journal_can_hold_is_refused(value):
    with pytest.raises(SettingError, match=r"seed: .* has more than 64 bits"):
        convert("seed", value, int)
    assert convert("seed", (1 << 63) - 1, int) == (1 << 63) - 1
