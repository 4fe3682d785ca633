"""`leaderboard.tex`: escaped, whole tables that fit a page, with the best rows bold and those that
cannot be told from them marked."""

import re
import shutil
import subprocess

import msgspec
import pytest

from atts_harness.analysis.leaderboard.best import best_of, indistinct
from atts_harness.analysis.leaderboard.build import Options, report
from atts_harness.analysis.leaderboard.outputs.latex import APART, SAME, escape, latex

TABLE = re.compile(
    r"\\begin\{table\*\}\[t\]\n\\centering.*\n\\caption\{(?P<caption>.*)\}\n"
    r"\\label\{(?P<label>tab:[a-z0-9-]+)\}.*\n"
    r"\\begin\{tabular\}\{@\{\}(?:l|p\{0\.\d+\\linewidth\})(?P<figures>r*)@\{\}\}\n"
    r"\\toprule\n(?P<above>.*) \\\\\n(?P<head>.*) \\\\\n\\midrule\n"
    r"(?P<body>(?:.* \\\\\n|\\midrule\n)+)\\bottomrule\n\\end\{tabular\}\n\\end\{table\*\}\n"
)
LAYOUTS = {
    "one column": r"\documentclass{article}",
    "two columns": r"\documentclass[twocolumn]{article}",
}


def tables(text):
    """Caption, headings and rows of each table; every row has a cell for every column."""
    found = list(TABLE.finditer(text))
    assert len(found) == text.count(r"\begin{table*}") > 0
    made = []
    for match in found:
        head = cells(match["head"])
        assert len(head) == len(cells(match["above"])) == 1 + len(match["figures"])
        lines = [line.removesuffix(r" \\") for line in match["body"].splitlines()]
        rows = [cells(line) for line in lines if line != r"\midrule"]
        assert {len(row) for row in rows if r"\multicolumn" not in row[0]} == {len(head)}
        assert balanced(match[0])
        made.append((match["caption"], head, rows))
    return made


def cells(line):
    """The cells of a line, without what only says how a name may wrap."""
    line = line.replace(r"\raggedright ", "").replace(r"\allowbreak{}", "")
    return re.split(r"(?<!\\)&", line.replace(" & ", "&"))


def balanced(text):
    bare = re.sub(r"\\[{}\\]", "", text)
    depth = 0
    for sign in bare:
        depth += {"{": 1, "}": -1}.get(sign, 0)
        assert depth >= 0
    return depth == 0


def typeset(text, folder, layout):
    """Pages of an article with the tables, and what LaTeX complains of."""
    (folder / "leaderboard.tex").write_text(text)
    body = r"\usepackage{booktabs}\begin{document}Text.\input{leaderboard}\end{document}"
    (folder / "paper.tex").write_text(f"{LAYOUTS[layout]}\n{body}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(2):  # the second time references are there
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-2000:]
    log = (folder / "paper.log").read_text(errors="replace")
    return [
        line
        for line in log.splitlines()
        if re.match(r"Overfull|!|LaTeX Warning: (Float too|Reference|There were undef|Label)", line)
    ]


@pytest.fixture
def made(make_run):
    """Two rows as good as each other, and one far behind that is made of a stranger's name."""
    best = make_run("target-only", lambda doc, repeat: (doc + repeat) % 4 != 0, problems=40)
    near = make_run("draft-only", lambda doc, repeat: (doc + repeat) % 4 != 1, problems=40)
    poor = make_run(r"x_1 & 50% \input{x}", lambda doc, repeat: doc == 0, name="p", problems=40)
    return report([best, near, poor])


@pytest.fixture
def wide(make_run):
    """Votes of an inner strategy with many settings, beside two pairs."""
    right = {"right": lambda doc, repeat: (doc + repeat) % 3 != 0, "problems": 12}
    votes = make_run(
        "esc",
        ends=lambda doc, repeat: "answer" if repeat < 2 else "not-drawn",
        votes=lambda doc: 1.0,
        options={"inner": "target-only", "window": 2},
        **right,
    )
    rates = [
        make_run(
            "atts",
            name=f"atts-{draft}-{rate}",
            options={"rate": rate, "on_reject": "replace", "calibration": "first-drafts"},
            models={"draft": f"org/DeepSeek-R1-Distill_{draft}", "target": "org/QwQ-32B"},
            **right,
        )
        for draft in ("Qwen-1.5B", "Llama-8B")
        for rate in (0.1234567, 0.5)
    ]
    return report(
        [votes, *rates]
        + [make_run(name, name=f"wide-{name}", **right) for name in ("target-only", "draft-only")]
    )


def many(made, rows):
    """The first table with its last row so many times more, under other names."""
    table = made.leaderboard.tables[0]
    last = made.leaderboard.row(table.rows[-1])
    more = tuple(
        msgspec.structs.replace(last, id=f"more{n}", label=f"{last.label} number={n} of many")
        for n in range(rows)
    )
    table = msgspec.structs.replace(table, rows=(*table.rows, *(row.id for row in more)))
    board = msgspec.structs.replace(
        made.leaderboard, tables=(table,), rows=(*made.leaderboard.rows, *more)
    )
    return latex(board, {})


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["plain", "wide", "long"])
def test_the_tables_fit_a_page_of_an_article(made, wide, kind, layout, tmp_path):
    texts = {
        "plain": lambda: latex(made.leaderboard, made.samples),
        "wide": lambda: latex(wide.leaderboard, wide.samples),
        "long": lambda: many(made, 90),
    }
    text = texts[kind]()
    assert len(tables(text)) > (kind == "long")
    if shutil.which("pdflatex"):  # else its grammar, above, is all that can be looked at
        assert typeset(text, tmp_path, layout) == []


def test_the_best_are_bold_and_what_cannot_be_told_from_them_is_marked(made):
    board = made.leaderboard
    best = best_of(board.rows)
    same = indistinct(board.rows, made.samples, board.level)
    assert best.pass_1.value == max(row.pass_1.value for row in board.rows if not row.oracle)
    assert {board.row(id_).strategy for id_ in same} == {"draft-only", "target-only"} - {
        best.strategy
    }
    ((caption, head, rows),) = tables(latex(board, made.samples))
    at = head.index("pass@1")
    bold = [row[0].removesuffix(SAME) for row in rows if r"\textbf{" in row[at]]
    assert bold == [
        row.label for row in board.rows if row.pass_1.value == best.pass_1.value and not row.oracle
    ]
    assert [row[0] for row in rows if SAME in row[0]] == [board.row(*same).label + SAME]
    assert "not distinguishable from the best" in caption
    figure = f"{best.pass_1.value:.3f}"
    assert rf"\textbf{{{figure}}} {{\scriptsize [" in rows[0][at]


def test_rows_of_a_pair_stand_below_its_name_and_votes_are_the_accuracy(wide):
    ((caption, head, rows), *_) = tables(latex(wide.leaderboard, wide.samples))
    pairs = [row[0] for row in rows if r"\multicolumn" in row[0]]
    assert len(pairs) == len(set(pairs)) >= 2
    assert any(r"DeepSeek-R1-Distill\_Llama-8B" in name for name in pairs)
    assert head[1] == "accuracy"
    assert "of the vote where samples vote, else pass@1" in caption
    (voted,) = (row for row in rows if "esc" in row[0])
    assert "1.000" in voted[1]


def test_a_row_that_is_not_comparable_is_marked_and_says_why(make_run):
    runs = [make_run("target-only"), make_run("draft-only", budget=50)]
    made = report(runs, Options(force=True))
    ((caption, _, rows), *_) = tables(latex(made.leaderboard, made.samples))
    assert any(APART in row[0] for row in rows)
    assert f"{APART}: not comparable: " in caption
    assert "50" in caption.split(APART)[1]


def test_names_of_strangers_are_text(made):
    text = latex(made.leaderboard, made.samples)
    assert r"x\_1 \& 50\% \textbackslash{}input\{x\}" in text.replace(r"\allowbreak{}", "")
    assert r"\input{x}" not in text
    assert escape("a^b~c<d>|{e}$#\x07\n\n–") == (
        r"a\textasciicircum{}b\textasciitilde{}c\textless{}d\textgreater{}\textbar{}\{e\}\$\# --"
    )
    assert escape("né 数学") == "né ??"


def test_without_samples_nothing_is_said_of_distinguishing(made):
    text = latex(made.leaderboard, {})
    assert SAME not in text
    assert "not distinguishable" not in text
