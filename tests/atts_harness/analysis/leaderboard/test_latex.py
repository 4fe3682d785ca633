"""`leaderboard.tex`: escaped, whole tables; the best row and those that cannot be told from it."""

import re

import pytest

from atts_harness.analysis.leaderboard.best import best_of, indistinct
from atts_harness.analysis.leaderboard.build import report
from atts_harness.analysis.leaderboard.outputs.latex import SAME, escape, latex


def tables(text):
    """Caption, column specification, headings and rows of each table."""
    found = re.findall(
        r"\\begin\{table\}\[t\]\n\\centering\n\\caption\{(.*)\}\n\\label\{tab:[a-z0-9-]+\}\n"
        r"\\begin\{tabular\}\{@\{\}(l+r*)@\{\}\}\n\\toprule\n(.*) \\\\\n\\midrule\n"
        r"((?:.* \\\\\n)+)\\bottomrule\n\\end\{tabular\}\n\\end\{table\}\n",
        text,
    )
    assert len(found) == text.count(r"\begin{table}")
    return [
        (caption, kinds, head.split(" & "), [line.split(" & ") for line in body.splitlines()])
        for caption, kinds, head, body in found
    ]


@pytest.fixture
def made(make_run):
    """One row far behind, one as good as the best, and one that is made of a stranger's name."""
    best = make_run("target-only", lambda doc, repeat: (doc + repeat) % 4 != 0, problems=40)
    near = make_run("draft-only", lambda doc, repeat: (doc + repeat) % 4 != 1, problems=40)
    poor = make_run(r"x_1 & 50% \input{x}", lambda doc, repeat: doc == 0, name="p", problems=40)
    return report([best, near, poor])


def test_the_best_is_bold_and_what_cannot_be_told_from_it_is_marked(made):
    board = made.leaderboard
    best = best_of(board.rows)
    same = indistinct(board.rows, made.samples, board.level)
    assert best.pass_1.value == max(row.pass_1.value for row in board.rows if not row.oracle)
    assert {board.row(id_).strategy for id_ in same} == {"draft-only", "target-only"} - {
        best.strategy
    }
    ((caption, kinds, head, rows),) = tables(latex(board, made.samples))
    assert len(head) == len(kinds)
    assert {len(row) for row in rows} == {len(head)}
    at = head.index(r"pass@1")
    bold = [row[0] for row in rows if r"\textbf{" in row[at]]
    assert bold == [best.label]
    assert [row[0] for row in rows if SAME in row[0]] == [board.row(*same).label + SAME]
    assert "not distinguishable from the best" in caption
    figure = f"{best.pass_1.value:.3f}"
    assert rf"\textbf{{{figure}}} {{\small [" in " & ".join(rows[0])


def test_names_of_strangers_are_text(made):
    text = latex(made.leaderboard, made.samples)
    assert r"x\_1 \& 50\% \textbackslash{}input\{x\}" in text
    assert r"\input{x}" not in text
    assert escape("a^b~c<d>|{e}$#\x07\n\n–") == (
        r"a\textasciicircum{}b\textasciitilde{}c\textless{}d\textgreater{}\textbar{}\{e\}\$\# --"
    )


def test_without_samples_nothing_is_said_of_distinguishing(made):
    text = latex(made.leaderboard, {})
    assert SAME not in text
    assert "not distinguishable" not in text
