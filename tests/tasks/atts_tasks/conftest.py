"""Made-up rows of the benchmarks' schemas, and the tasks on them."""

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for `hub`, beside the tests

ROOT = Path(__file__).parents[3]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def gpqa_row(number):
    return {
        "Record ID": f"rec{number:05d}",
        "Question": f"Which of these is the number {number}?",
        "Correct Answer": f"{number}",
        **{f"Incorrect Answer {n}": f"{number + n}\n" for n in (1, 2, 3)},
    }


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """A data folder with a few rows a set; `ATTS_DATA_DIR` for what needs it."""
    folder = tmp_path_factory.mktemp("data")
    write(
        folder / "math500/test.jsonl",
        [
            {
                "problem": f"What is {n} halves?",
                "answer": rf"\frac{{{n}}}{{2}}",
                "unique_id": f"t/{n}",
            }
            for n in range(1, 121)
        ],
    )
    write(
        folder / "aime24/train.jsonl",
        [{"id": 60 + n, "problem": f"What is {n}?", "answer": f"{n:03d}"} for n in range(30)],
    )
    write(
        folder / "aime25/test.jsonl",
        [{"id": str(n), "problem": f"What is {n}?", "answer": str(n)} for n in range(30)],
    )
    write(
        folder / "amc23/test.jsonl",
        [{"id": n, "question": f"What is {n}?", "answer": str(n)} for n in range(40)],
    )
    write(
        folder / "aimo_amc/train.jsonl",
        [{"id": n, "problem": f"What is {n}?", "answer": float(n)} for n in range(83)],
    )
    write(
        folder / "gsm8k/test.jsonl",
        [{"question": f"What is {n}?", "answer": f"It is.\n#### 1,{n:03d}"} for n in range(20)],
    )
    write(
        folder / "olympiadbench/train.jsonl",
        [
            {
                "id": n,
                "context": "Let there be numbers." if n % 2 else None,
                "question": f"Which are {n} and {n + 1}?",
                "final_answer": [f"${n}$,${n + 1}$" if n % 3 == 0 else f"${n}$"],
                "is_multiple_answer": n % 3 == 0,
                "unit": None,
                "error": "1e-1" if n == 4 else None,
                "answer_type": "Numerical" if n % 5 else "Expression",
            }
            for n in range(100)
        ],
    )
    write(folder / "gpqa_diamond/train.jsonl", [gpqa_row(n) for n in range(198)])
    return folder


@pytest.fixture(scope="session", name="gpqa_row")
def gpqa_row_fixture():
    return gpqa_row


@pytest.fixture(scope="session", name="write")
def write_fixture():
    return write


@pytest.fixture
def data(rows, monkeypatch):
    monkeypatch.setenv("ATTS_DATA_DIR", str(rows))
    monkeypatch.delenv("ATTS_GPQA_ZIP", raising=False)
    return rows


@pytest.fixture(scope="session")
def shared():
    folder = Path(os.environ.get("ATTS_SHARED_DIR", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared test data is not at {folder}; set ATTS_SHARED_DIR")
    return folder
