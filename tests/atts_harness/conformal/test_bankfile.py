import io
import json
import math
import os
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atts_harness.conformal import (
    Bank,
    CalibrationOptions,
    Provenance,
    bank_of,
    make_policy,
    read_bank,
    write_bank,
)
from atts_harness.conformal.published import read_npy
from atts_harness.errors import SettingError
from atts_harness.records import SampleId
from atts_harness.strategy import RunInfo

MADE = Provenance(
    task="math",
    prompt="aa",
    wording="w1",
    draft="org/small",
    target="org/large",
    draft_template="t1",
    target_template="t2",
    score_template="chat",
    draft_temperature=0.8,
    draft_top_p=1.0,
    draft_tokens=500,
    stop=("\n\n",),
    target_temperature=0.8,
    target_tokens=500,
    on_reject="continue",
)
BANK = bank_of(
    [(q, turn, 0.1 + q / 7 + turn) for q in range(9) for turn in range(3)],
    provenance=MADE,
    rate=0.4,
    split="train",
    evaluation_questions=False,
    origin="a test",
)


def run_of(**changes):
    return RunInfo(provenance=msgspec.to_builtins(msgspec.structs.replace(MADE, **changes)))


@pytest.mark.parametrize("name", ["bank.json", "bank.npz"])
@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 9), st.floats(0, math.inf)), min_size=1
    )
)
def test_what_is_written_comes_back(tmp_path_factory, name, rows):
    path = tmp_path_factory.mktemp("bank") / name
    bank = bank_of(rows, provenance=MADE, rate=0.25, split="train", origin="a test")
    assert read_bank(write_bank(bank, path)) == bank
    assert [p.name for p in path.parent.iterdir()] == [name]


def test_json_is_readable_by_anyone(tmp_path):
    path = write_bank(
        bank_of([(3, 0, 0.5), (4, 1, math.inf)], provenance=MADE), tmp_path / "b.json"
    )
    document = json.loads(path.read_text())
    assert document["scores"] == {"turn": [0, 1], "question": [3, 4], "nonconformity": [0.5, "inf"]}
    assert document["provenance"]["draft"] == "org/small"


def test_npz_is_read_without_pickles(tmp_path):
    path = write_bank(BANK, tmp_path / "b.npz")
    with np.load(path, allow_pickle=False) as arrays:
        assert sorted(arrays) == ["about", "nonconformity", "question", "turn"]


def test_a_bank_fits_the_run_it_was_made_for():
    make_policy(CalibrationOptions(), run_of(), BANK)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draft": "org/other"}, "draft is 'org/small' in the bank, 'org/other' in the run"),
        ({"target": "org/other"}, "target is 'org/large'"),
        ({"prompt": "bb"}, "prompt is 'aa' in the bank, 'bb' in the run"),
        ({"wording": "w2"}, r"'w2' in the run \(the task's template, description or few-shot"),
        ({"task": "gpqa"}, "task is 'math' in the bank, 'gpqa' in the run"),
        ({"draft_template": "t9"}, "draft_template is 't1'"),
        ({"target_template": "t9"}, "target_template is 't2'"),
        ({"score_template": "raw"}, "score_template is 'chat' in the bank, 'raw' in the run"),
        ({"draft_tokens": 100}, "draft_tokens is 500 in the bank, 100 in the run"),
        ({"draft_temperature": 0.6}, "draft_temperature is 0.8 in the bank, 0.6 in the run"),
        ({"stop": ("\\boxed{",)}, "stop is"),
        ({"stop": ()}, "stop is"),
        ({"on_reject": "replace"}, "on_reject is 'continue'"),
        (
            {"draft": "a", "target": "b", "prompt": "c", "stop": ()},
            r"prompt .*; draft .*; target .*, and 1 more",
        ),
    ],
)
def test_a_bank_of_something_else_is_refused(changes, message):
    with pytest.raises(SettingError, match=message) as refused:
        make_policy(CalibrationOptions(), run_of(**changes), BANK)
    assert "atts calibrate" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_takeover_settings_do_not_matter_to_first_drafts():
    first = msgspec.structs.replace(
        bank_of([(q, 0, 1.0) for q in range(9)]), provenance=MADE, rate=0.9
    )
    changed = run_of(target_tokens=9, on_reject="replace", target_temperature=0.1)
    options = CalibrationOptions(coverage="marginal")
    make_policy(options, changed, first)
    with pytest.raises(SettingError, match="target_temperature"):
        make_policy(options, changed, BANK)


def test_another_rate_is_warned_of(caplog):
    make_policy(CalibrationOptions(rate=0.2), run_of(), BANK)
    assert "takeovers at rate 0.4, this run's is 0.2" in caplog.text


def test_a_folder_has_one_bank_a_task(tmp_path):
    for task in ("math", "gpqa"):
        made = msgspec.structs.replace(MADE, task=task)
        write_bank(msgspec.structs.replace(BANK, provenance=made), tmp_path / f"{task}.json")
    options = CalibrationOptions(bank=str(tmp_path))
    policy = make_policy(options, run_of())
    assert policy.decide(0.4, SampleId("math", 0, 0), 0, 0.5).bank_size == 9
    with pytest.raises(SettingError, match=r"0 banks of task aime .*gpqa.json, math.json"):
        make_policy(options, run_of(task="aime"))
    write_bank(BANK, tmp_path / "again.npz")
    with pytest.raises(SettingError, match=r"2 banks of task math .*again.npz, math.json"):
        make_policy(options, run_of())


@pytest.mark.parametrize(
    ("bank", "message"),
    [
        (Bank(nonconformities=(), turns=(), questions=()), "holds no scores"),
        (
            bank_of([(0, 0, 1.0), (1, 0, float("nan"))]),
            "1 of 2 scores are NaN or -inf, the first at",
        ),
        (bank_of([(0, 0, -math.inf)]), "NaN or -inf"),
        (Bank(nonconformities=(1.0,), turns=(0, 0), questions=(1,)), "one each is needed"),
        (bank_of([(0, -1, 1.0)]), "a turn is negative"),
    ],
)
def test_scores_that_cannot_be_ranked_against(bank, message, tmp_path):
    with pytest.raises(SettingError, match=message):
        write_bank(bank, tmp_path / "b.json")
    with pytest.raises(SettingError, match=message):
        make_policy(CalibrationOptions(), RunInfo(provenance={"task": "t"}), bank)
    assert not list(tmp_path.iterdir())


def npy_header(text):
    """An `.npy` file that ends behind its header."""
    data = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(data).to_bytes(2, "little") + data


def array_of(values, dtype=None):
    file = io.BytesIO()
    np.save(file, np.array(values, dtype=dtype))
    return file.getvalue()


def json_array(value):
    return array_of(list(msgspec.json.encode(value)), np.uint8)


def archive(**files):
    """An `.npz` bank of one score, with these files in place of the usual ones."""
    usual = {"nonconformity": array_of([1.0]), "turn": array_of([0]), "question": array_of([0])}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in {**usual, **files}.items():
            out.writestr(f"{name}.npy", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"{}", "holds no scores"),
        (b'{"format": "other"}', "not a bank"),
        (
            b'{"format": "atts-bank", "version": 9, "provenance": {}, "scores": '
            b'{"turn": [0], "question": [0], "nonconformity": [1.0]}}',
            "version 9, this release reads 1",
        ),
        (
            b'{"format": "atts-bank", "version": 1, "provenance": {}, "scores": '
            b'{"turn": [0], "question": [0], "nonconformity": [null]}}',
            "not a bank: .*nonconformity",
        ),
        (b"perplexities: 1, 2", "not a bank"),
        (b"PK\x03\x04 and then nothing", "not a bank"),
        (b"\xff\xfe\x00", "not a bank"),
        (b'{"x": [1.5]}', "question 'x' is not an index"),
        ('{"²": [1.5]}'.encode(), "question '²' is not an index"),
        (b'{"' + b"9" * 5000 + b'": [1.5]}', "is not an index"),
        (b'{"format": ' + b"[" * 100_000, "not a bank"),
        (b"[" * 100_000, "not a bank"),
        (b"\x93NUMPY", "not a bank"),
        (b"\x93NUMPY\x09\x00" + b"x" * 99, "not a bank"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}"), "not a bank"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,)}"), "not a bank"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}"), "may"),
        (npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (5,)}"), "promises 5"),
        (npy_header("{'descr': '|O', 'fortran_order': False, 'shape': (5,)}"), "a pickle"),
        (npy_header("(" * 9000), "not a bank"),
        (npy_header("{'descr': 'zz', 'shape': 5"), "not a bank"),
        (archive(), "not a bank: .*about"),
        (archive(about=b"not an array"), "not a bank"),
        (archive(about=json_array({"format": "atts-bank", "version": 1})), "not a bank"),
        (archive(about=json_array({}), turn=array_of([1.5])), "turn is of type float64"),
        (archive(zeros=b"\0" * (1 << 27)), "unpacks to 128 MiB"),
    ],
)
def test_files_that_are_no_banks(content, message, tmp_path):
    path = tmp_path / "b.json"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=message):
        read_bank(path)


def test_a_small_file_cannot_take_much_memory(tmp_path):
    """An archive of 130 kB that unpacks to 128 MiB, and a header that promises 8 TB."""
    path = tmp_path / "b.npz"
    path.write_bytes(archive(zeros=b"\0" * (1 << 27)))
    assert path.stat().st_size < 200_000
    header = npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}")
    (tmp_path / "b.npy").write_bytes(header)
    tracemalloc.start()
    for name in ("b.npz", "b.npy"):
        with pytest.raises(SettingError):
            read_bank(tmp_path / name)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000, peak


@pytest.mark.parametrize("make", ["folder", "pipe", "unreadable", "large"])
def test_what_is_no_plain_file_is_refused(make, tmp_path):
    path = tmp_path / "b.npz"
    if make == "folder":
        path = Path("/dev/zero")
    elif make == "pipe":
        os.mkfifo(path)
    elif make == "unreadable":
        path = tmp_path / "b\0.npz"
    else:
        with path.open("wb") as file:
            file.truncate(1 << 33)
    with pytest.raises(SettingError, match=r"not a (file|name)|no such file|larger than 64 MiB"):
        read_bank(path)


@pytest.mark.parametrize("suffix", ["json", "npz"])
def test_a_bank_that_was_changed_is_refused(suffix, tmp_path):
    path = write_bank(BANK, tmp_path / f"b.{suffix}")
    assert read_bank(path) == BANK
    other = msgspec.structs.replace(BANK, nonconformities=(9.0, *BANK.nonconformities[1:]))
    changed = write_bank(other, tmp_path / f"c.{suffix}")
    if suffix == "json":
        document = msgspec.json.decode(path.read_bytes())
        document["scores"]["nonconformity"][0] = 9.0
        path.write_bytes(msgspec.json.encode(document))
    else:
        with np.load(path) as mine, np.load(changed) as theirs:
            np.savez_compressed(path, **{**mine, "nonconformity": theirs["nonconformity"]})
    with pytest.raises(SettingError, match="damaged, or edited since it was written"):
        read_bank(path)


def test_a_bank_of_an_early_release_has_no_digest_and_is_read(tmp_path):
    path = write_bank(BANK, tmp_path / "b.json")
    document = msgspec.json.decode(path.read_bytes())
    del document["digest"]
    path.write_bytes(msgspec.json.encode(document))
    assert read_bank(path) == BANK


def test_a_broken_bank_in_a_folder_is_left_out_and_named(tmp_path, caplog):
    write_bank(BANK, tmp_path / "a.json")
    (tmp_path / "b.json").write_bytes(b"{")
    options = CalibrationOptions(bank=str(tmp_path))
    make_policy(options, run_of()).decide(0.4, SampleId("math", 0, 0), 0, 0.5)
    assert "left out: bank=" in caplog.text
    (tmp_path / "a.json").unlink()
    with pytest.raises(SettingError, match=r"0 banks of task math .*not readable: b.json"):
        make_policy(options, run_of())


@pytest.mark.parametrize(
    "name", ["x_s0_t5_temp0.8", "x_s2_t5_temp0..8", f"x_s{'9' * 5000}_t5_temp1"]
)
def test_a_published_name_that_cannot_be_meant(name):
    content = array_of([1.5, 2.0])
    with pytest.raises(SettingError, match="rename it"):
        read_npy(content, Path(f"{name}.npy"))


def test_published_array(tmp_path):
    path = tmp_path / "ppls_math_large_small_s2_t500_temp0.8_ct1.npy"
    np.save(path, np.array([1.5, 2.0, 1.25, math.inf]))
    bank = read_bank(path)
    assert bank.questions == (0, 0, 1, 1)
    assert bank.turns == (0, 0, 0, 0)
    assert bank.nonconformities == (math.log(1.5), math.log(2.0), math.log(1.25), math.inf)
    options = CalibrationOptions(coverage="marginal", bank=str(path))
    make_policy(options, run_of())
    with pytest.raises(
        SettingError, match=r"draft_temperature is 0\.8 in the bank, 0\.6 in the run"
    ):
        make_policy(options, run_of(draft_temperature=0.6))
    with pytest.raises(SettingError, match="score_template is 'chat' in the bank, 'raw'"):
        make_policy(options, run_of(score_template="raw"))


def test_an_array_that_says_nothing_is_warned_of(tmp_path, caplog):
    np.save(tmp_path / "b.npy", np.array([1.5, 2.0]))
    make_policy(CalibrationOptions(coverage="marginal", bank=str(tmp_path / "b.npy")), run_of())
    assert "it cannot be checked" in caplog.text


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.5, 0.5]), "perplexity 0.5; none is below 1"),
        (np.array([1.5, 0.0]), "perplexity 0.0; the published code writes 0 where a score failed"),
        (np.array([1.5, math.nan]), "1 of 2 scores are NaN"),
        (np.array([]), "holds no scores"),
        (np.ones((3, 2)), r"shape \(3, 2\)"),
        (np.array(["a"]), "one row of numbers"),
    ],
)
def test_arrays_that_are_no_banks(array, message, tmp_path):
    np.save(tmp_path / "b.npy", array)
    with pytest.raises(SettingError, match=message):
        read_bank(tmp_path / "b.npy")


@pytest.mark.parametrize("how", ["numpy", "pickle"])
def test_pickles_are_refused_and_the_two_lines_given_work(how, tmp_path):
    published = {0: [1.5, 2.0], 3: [np.float64(1.25)]}
    path = tmp_path / "ppls_per_question.npy"
    if how == "numpy":
        np.save(path, published)
    else:
        path.write_bytes(pickle.dumps(published))
    with pytest.raises(SettingError, match="a pickle, which could run any code") as refused:
        read_bank(path)
    _, first, second = str(refused.value).splitlines()
    exec(f"{first.strip()}\n{second.strip()}", {})
    bank = read_bank(path.with_suffix(".json"))
    assert list(zip(bank.questions, bank.nonconformities, strict=True)) == [
        (0, math.log(1.5)),
        (0, math.log(2.0)),
        (3, math.log(1.25)),
    ]
    policy = make_policy(CalibrationOptions(coverage="conditional"), bank=bank)
    assert policy.decide(9.0, SampleId("t", 0, 5), 4, 0.5).bank == "question 0"


def test_a_bank_without_provenance_can_be_read_back(tmp_path):
    bank = Bank(nonconformities=(0.5, 1.0), turns=(0, 0), questions=(0, 1))
    assert read_bank(write_bank(bank, tmp_path / "bank.json")) == bank


@pytest.mark.parametrize("signal", [None, "draft-perplexity"])
def test_log_probabilities_are_no_nonconformities(tmp_path, signal):
    provenance = Provenance(signal=signal)
    path = write_bank(bank_of([(0, 0, -0.4), (1, 0, 0.2)], provenance=provenance), tmp_path / "b")
    with pytest.raises(SettingError, match="are these log-probabilities"):
        read_bank(path)


def test_the_confidence_of_a_group_may_be_below_zero(tmp_path):
    bank = bank_of([(0, 0, -4.0)], provenance=Provenance(signal="lowest-group"))
    assert read_bank(write_bank(bank, tmp_path / "b")) == bank


def test_a_rate_outside_of_0_and_1_is_refused(tmp_path):
    with pytest.raises(SettingError, match="a rate lies in"):
        write_bank(bank_of([(0, 0, 0.4)], rate=2.0), tmp_path / "b")
