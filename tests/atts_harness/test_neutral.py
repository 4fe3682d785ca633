"""Text from outside is text: no escape sequence, no markup, no formula, wherever it is shown."""

import csv
import io
import logging

import pytest
from rich.table import Table

from atts_harness import neutral
from atts_harness.errors import BackendUnavailableError, SettingError, UnknownSettingError
from atts_harness.neutral import field, line, markdown, plain
from atts_harness.running.logs import Redacting
from atts_harness.terminal import console

HOSTILE = (
    "\x1b[2J",  # clears the screen
    "\x1b]0;title\x07",
    "\x1b]8;;http://x\x1b\\click\x1b]8;;\x1b\\",
    "\x9b31m",
    "a\rb",
    "a\x08\x08b",
    "\x00",
    "\x7f",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u2028x",
    "\ud800",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_acts_upon_is_left(text):
    shown = plain(f"model {text} end")
    assert shown.startswith("model ")
    assert shown.endswith(" end")
    assert all(sign.isprintable() for sign in shown)
    shown.encode()


def test_what_is_harmless_stays():
    text = "größe ≤ 3\tx\ny 日本 🙂 \\n [atts16]"
    assert plain(text) == text
    assert line(" a\n b\t c ") == "a b c"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "|x", "%x", "=cmd|' /C'!A0"]
)
def test_a_cell_is_no_formula(text):
    out = io.StringIO()
    csv.writer(out).writerow([field(text)])
    (read,) = next(csv.reader(io.StringIO(out.getvalue())))
    assert not read.startswith(tuple("=+-@|%\t\r\n "))


@pytest.mark.parametrize("text", ["-0.5", "+3", "1e-5", "-1.5E+3", "", "atts r=.4", "a=b", "3 - 2"])
def test_a_number_or_a_name_stays_as_it_is(text):
    assert field(text) == text


def test_nothing_of_it_is_markdown():
    shown = markdown("[a](javascript:x) | `b` *c* <img src=x>\n# d ![e](f) &amp;")
    assert shown == (r"\[a\](javascript:x) \| \`b\` \*c\* \<img src=x\> \# d \!\[e\](f) \&amp;")


@pytest.mark.parametrize("text", [*HOSTILE[:4], "[atts16]", "[bold]x[/bold]", "[/]", ":smile:"])
def test_a_console_prints_it_as_text(text):
    out = io.StringIO()
    made = console(file=out, width=80, force_terminal=False)
    table = Table(f"head {text}", title=f"title {text}", caption=f"caption {text}")
    table.add_row(f"cell {text}")
    made.print(table)
    made.print(f"said {text}")
    written = out.getvalue()
    wanted = plain(text).replace("␇", "")  # rich takes the bell out itself
    for place in ("title", "head", "cell", "caption", "said"):
        assert f"{place} {wanted}" in written
    assert not set(written) & set("\x1b\x07\x9b")


def test_its_own_colours_stay():
    out = io.StringIO()
    made = console(file=out, force_terminal=True, color_system="standard", width=80)
    made.print("x\x1b[2J", style="red")
    assert out.getvalue() == "\x1b[31mx␛[2J\x1b[0m\n"


@pytest.mark.parametrize("text", HOSTILE)
def test_an_error_says_it_as_text(text):
    for error in (
        SettingError(f"file {text}"),
        BackendUnavailableError(f"server said {text}", 3.0),
        UnknownSettingError(text, ["rate"]),
    ):
        assert all(sign.isprintable() for sign in str(error))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_log_holds_it_as_text(text, caplog):
    logger = neutral.logger("atts_harness.test_neutral")
    assert neutral.logger("atts_harness.test_neutral") is logger
    assert len(logger.filters) == 1
    with caplog.at_level(logging.INFO):
        logger.info("the server said %s", text)
        logger.warning(f"task {text}")
    assert all(sign.isprintable() for record in caplog.messages for sign in record)


def test_a_traceback_in_the_runs_log_is_text():
    try:
        raise ValueError("\x1b[2J")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed", None, info)
    assert "\x1b" not in Redacting("%(message)s").format(record)
