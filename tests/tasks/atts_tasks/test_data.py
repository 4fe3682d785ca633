"""Rows become documents; what is missing is said in one line."""

import json
import os
import random
import struct
import zipfile
import zlib

import pytest
from atts_tasks.data import BENCHMARKS, load
from atts_tasks.prompts import ask

from atts_harness.analysis.statistics import pass_at_k
from atts_harness.errors import SettingError
from atts_harness.results.golds import gold_of


def documents(benchmark, subset=None):
    return list(load(benchmark, subset)["test"])


def test_every_benchmark_becomes_documents_of_one_shape(data):
    for name in BENCHMARKS:
        found = documents(name)
        assert found
        assert len({doc["id"] for doc in found}) == len(found)
        for doc in found:
            gold = gold_of(doc)
            assert gold.text
            assert doc["question"] in ask(doc)


def test_what_rows_say_reaches_the_grader(data):
    olympiad = {doc["id"]: gold_of(doc) for doc in documents("olympiadbench")}
    assert olympiad["3"].several
    assert not olympiad["4"].several
    assert olympiad["4"].tolerance == 0.1
    assert documents("gsm8k")[7]["gold"] == "1,007"
    assert documents("aimo_amc")[27]["gold"] == "27"
    assert documents("aime24")[3]["gold"] == "003"
    assert documents("olympiadbench")[1]["question"].startswith("Let there be numbers.\n\nWhich")


def test_published_subsets(data):
    assert [d["id"] for d in documents("aime24", "first_15")] == [str(60 + n) for n in range(15)]
    assert len(documents("aimo_amc", "first_50")) == 50
    assert len(documents("gpqa_diamond", "first_60")) == 60
    numeric = documents("olympiadbench", "first_50_numeric")
    assert [int(d["id"]) for d in numeric] == [n for n in range(100) if n % 3 and n % 5][:50]
    assert len({d["id"] for d in documents("math500", "seed42_100")}) == 100


def test_the_hundred_of_seed_42_are_the_published_ones(shared, monkeypatch):
    from atts_harness.results.find import saved_tasks

    monkeypatch.setenv("ATTS_DATA_DIR", str(shared / "benchmarks"))
    (published,) = saved_tasks(shared / "traces" / "atts_math500_ct0.jsonl.gz")
    assert [d["id"] for d in documents("math500", "seed42_100")] == [
        one.question.id for one in published
    ]


def test_the_shared_sets_load_whole(shared, monkeypatch):
    monkeypatch.setenv("ATTS_DATA_DIR", str(shared / "benchmarks"))
    sizes = {name: len(documents(name)) for name in BENCHMARKS if name not in _NOT_SHARED}
    assert sizes == {
        "math500": 500,
        "aime24": 30,
        "aime25": 30,
        "amc23": 40,
        "olympiadbench": 674,
        "gsm8k": 1319,
    }


_NOT_SHARED = ("aimo_amc", "gpqa_diamond")


def test_options_do_not_depend_on_anything_but_the_question(data):
    random.seed(1)
    first = documents("gpqa_diamond")
    random.seed(2)
    assert documents("gpqa_diamond", "first_60") == first[:60]
    for doc in first:
        right = "ABCD".index(doc["gold"])
        assert doc["choices"][right] == str(int(doc["id"].removeprefix("rec")))
        assert len(set(doc["choices"])) == 4
        assert f"({doc['gold']}) {doc['choices'][right]}\n" in ask(doc) + "\n"


def test_a_constant_answer_scores_a_quarter_at_every_k(tmp_path, monkeypatch, write, gpqa_row):
    write(tmp_path / "gpqa_diamond/train.jsonl", [gpqa_row(n) for n in range(4000)])
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path))
    golds = [doc["gold"] for doc in documents("gpqa_diamond")]
    for letter in "ABCD":
        counts = [16 if gold == letter else 0 for gold in golds]
        for k in (1, 2, 4, 8, 16):
            share = sum(pass_at_k(16, c, k) for c in counts) / len(counts)
            # Four standard errors of a share of .25 over 4,000 questions.
            assert abs(share - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def encrypted_zip(path, member, content, password):
    """An archive as the authors made theirs; Python can only read the old zip encryption."""

    def crc(state, byte):
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0xEDB88320 if state & 1 else 0)
        return state

    keys = [0x12345678, 0x23456789, 0x34567890]

    def turn(byte):
        keys[0] = (keys[0] >> 8) ^ crc(0, (keys[0] ^ byte) & 0xFF)
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ crc(0, (keys[2] ^ (keys[1] >> 24)) & 0xFF)

    for byte in password:
        turn(byte)
    checksum = zlib.crc32(content)
    plain = bytes(11) + bytes([checksum >> 24]) + content
    out = bytearray()
    for byte in plain:
        mask = keys[2] | 2
        out.append(byte ^ ((mask * (mask ^ 1)) >> 8 & 0xFF))
        turn(byte)
    name = member.encode()
    sizes = struct.pack("<III", checksum, len(out), len(content))
    common = struct.pack("<HHHHH", 20, 1, 0, 0, 0x21) + sizes
    local = b"PK\x03\x04" + common + struct.pack("<HH", len(name), 0) + name + bytes(out)
    central = (
        b"PK\x01\x02" + struct.pack("<H", 20) + common
        + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    )  # fmt: skip
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    path.write_bytes(local + central + end)


@pytest.fixture
def archive(tmp_path, gpqa_row):
    rows = [gpqa_row(n) for n in range(5)]
    header = ",".join(f'"{name}"' for name in rows[0])
    lines = [",".join(f'"{value}"' for value in row.values()) for row in rows]
    path = tmp_path / "dataset.zip"
    content = "\n".join([header, *lines]).encode()
    encrypted_zip(path, "dataset/gpqa_diamond.csv", content, b"a-password")
    return path


def test_gpqa_comes_from_the_authors_archive(archive, monkeypatch):
    monkeypatch.setenv("ATTS_GPQA_ZIP", str(archive))
    monkeypatch.setenv("ATTS_GPQA_PASSWORD", "a-password")
    assert [doc["id"] for doc in documents("gpqa_diamond")] == [f"rec{n:05d}" for n in range(5)]


@pytest.mark.parametrize(
    ("password", "path", "message"),
    [
        ("wrong", None, r"ATTS_GPQA_ZIP: .*dataset.zip cannot be read.*ATTS_GPQA_PASSWORD"),
        ("", None, r"cannot be read.*set ATTS_GPQA_PASSWORD to the password"),
        ("a-password", "/nowhere/dataset.zip", r"ATTS_GPQA_ZIP: /nowhere/dataset.zip is not there"),
    ],
)
def test_an_archive_that_cannot_be_read(archive, monkeypatch, password, path, message):
    monkeypatch.setenv("ATTS_GPQA_ZIP", path or str(archive))
    monkeypatch.setenv("ATTS_GPQA_PASSWORD", password)
    with pytest.raises(SettingError, match=message) as caught:
        documents("gpqa_diamond")
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_without_end_is_not_unpacked_to_it(tmp_path, monkeypatch):
    monkeypatch.setattr("atts_tasks.gpqa.MOST_BYTES", 1 << 16)
    path = tmp_path / "dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("gpqa_diamond.csv", b"x" * (1 << 22))
    monkeypatch.setenv("ATTS_GPQA_ZIP", str(path))
    with pytest.raises(SettingError, match=r"ATTS_GPQA_ZIP: .* unpacks to more than"):
        documents("gpqa_diamond")


def test_an_archive_that_says_a_wrong_size_is_believed_in_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("atts_tasks.gpqa.MOST_BYTES", 1 << 16)
    path = tmp_path / "dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("gpqa_diamond.csv", b"x" * (1 << 22))
    size = struct.pack("<I", 1 << 22)
    path.write_bytes(path.read_bytes().replace(size, struct.pack("<I", 10)))
    monkeypatch.setenv("ATTS_GPQA_ZIP", str(path))
    with pytest.raises(SettingError, match="cannot be read"):
        documents("gpqa_diamond")


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:40],
        lambda raw: raw[: len(raw) // 2],
        lambda raw: b"",
        lambda raw: raw.replace(b"\x08\x00", b"\x63\x00"),  # a way of packing that nobody has
        lambda raw: raw[:60] + bytes(80) + raw[140:],
    ],
)
def test_an_archive_that_is_damaged_is_one_line(tmp_path, monkeypatch, damage):
    path = tmp_path / "dataset.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("gpqa_diamond.csv", "".join(f"{n * n},{n**3}\n" for n in range(500)))
    path.write_bytes(damage(path.read_bytes()))
    monkeypatch.setenv("ATTS_GPQA_ZIP", str(path))
    with pytest.raises(SettingError, match="ATTS_GPQA_ZIP: ") as caught:
        documents("gpqa_diamond")
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(20)
def test_a_pipe_in_the_archives_place_is_not_waited_for(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "dataset.zip")
    monkeypatch.setenv("ATTS_GPQA_ZIP", str(tmp_path / "dataset.zip"))
    with pytest.raises(SettingError, match="not a file"):
        documents("gpqa_diamond")


def test_missing_local_data_names_variable_file_and_hub_id(tmp_path, monkeypatch):
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingError, match="ATTS_DATA_DIR") as caught:
        documents("math500")
    message = str(caught.value)
    assert "math500/test.jsonl is not there" in message
    assert "HuggingFaceH4/MATH-500" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["math500", "gpqa_diamond"])
def test_a_hub_that_refuses_names_hub_id_licence_step_and_variable(monkeypatch, name):
    import datasets

    def refuse(*args, **kwargs):
        raise OSError("gated\nsecond line")

    monkeypatch.delenv("ATTS_DATA_DIR", raising=False)
    monkeypatch.delenv("ATTS_GPQA_ZIP", raising=False)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(SettingError) as caught:
        documents(name)
    message = str(caught.value)
    assert BENCHMARKS[name].hub in message
    assert "HF_TOKEN" in message
    assert "ATTS_DATA_DIR" in message
    assert ("accept the conditions on https://" in message) == (name == "gpqa_diamond")
    assert "second line" not in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("not json\n", "line 1 is not JSON"),
        ("[1]\n", "line 1 is not an object"),
        (
            json.dumps({"question": "q", "answer": "1", "unique_id": "u"}) + "\n",
            "column 'problem' is not there.*question, answer, unique_id.*rows need problem",
        ),
    ],
)
def test_a_spoilt_file_is_told_in_one_line(tmp_path, monkeypatch, content, message):
    file = tmp_path / "math500" / "test.jsonl"
    file.parent.mkdir()
    file.write_text(content)
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingError, match=message) as caught:
        documents("math500")
    assert str(file) in str(caught.value)


def test_a_row_that_cannot_be_read_is_named(tmp_path, monkeypatch, write, gpqa_row):
    row = gpqa_row(1) | {"Question": None, "Record ID": None}
    write(tmp_path / "gpqa_diamond/train.jsonl", [gpqa_row(0), row])
    monkeypatch.setenv("ATTS_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingError, match="row 1 cannot be read"):
        documents("gpqa_diamond")
