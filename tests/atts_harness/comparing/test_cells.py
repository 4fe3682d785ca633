"""Cells, their order, their commands, and what of them must not change."""

import json

import msgspec
import pytest

from atts_harness.comparing import calibrations
from atts_harness.comparing.afresh import start_afresh
from atts_harness.comparing.calibrations import calibrate_command
from atts_harness.comparing.cells import expand
from atts_harness.comparing.order import in_order
from atts_harness.comparing.plan import read_plan
from atts_harness.comparing.status import Folder, identity, merged, read_status
from atts_harness.errors import RunDirError, SettingError
from atts_harness.framework import Evaluation

PLAN = """\
out: out
limit: 40
repeats: 4
settings: {preset: pair, rate: 0.3, target_device: cpu}
pairs:
  one: {device: cpu}
  two: {draft_device: cuda}
tasks: [sums, products]
strategies:
  - draft-only
  - strategy: atts
    name: replace
    settings: {on_reject: replace}
    points: {rate: [0.1, 0.2]}
  - strategy: random-takeover
    settings: {on_reject: replace, rate_of: replace-rate=0.2}
"""


@pytest.fixture
def read(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(text=PLAN):
        (tmp_path / "plan.yaml").write_text(text)
        return read_plan("plan.yaml")

    return read


@pytest.fixture
def cells(read):
    def cells(text=PLAN):
        return {cell.name: cell for cell in expand(read(text))}

    return cells


def test_tasks_by_pairs_by_strategies_by_points(cells):
    assert list(cells())[:5] == [
        "sums/one/draft-only",
        "sums/one/replace-rate=0.1",
        "sums/one/replace-rate=0.2",
        "sums/one/random-takeover",
        "sums/two/draft-only",
    ]
    assert len(cells()) == 2 * 2 * 4


def test_times_runs_every_cell_again_among_the_others(read):
    file = read("times: 3\n" + PLAN)
    found = expand(file)
    assert len(found) == 3 * 2 * 2 * 4
    again = next(cell for cell in found if cell.name == "sums/one/random-takeover+time3")
    assert again.times_of == "sums/one/random-takeover"
    assert again.needs == "sums/one/replace-rate=0.2"
    assert again.settings == found[3].settings
    order = [cell.name for cell in in_order(found, 1) if cell.name.startswith("sums/one/draft")]
    places = [cell.timing for cell in in_order(found, 1)]
    assert len(order) == 3
    assert places != sorted(places)  # repeats stand among the others, not behind them


def test_a_list_of_points_is_no_product(cells):
    points = "points:\n      - {rate: 0.1, turns: 5}\n      - {rate: [0.2, 0.4], turns: 9}"
    found = cells(
        PLAN.replace("points: {rate: [0.1, 0.2]}", points).replace("=0.2}", "=0.2-turns=9}")
    )
    rows = [cell.row for cell in found.values() if (cell.task_name, cell.pair) == ("sums", "one")]
    assert [row for row in rows if row.startswith("replace")] == [
        "replace-rate=0.1-turns=5",
        "replace-rate=0.2-turns=9",
        "replace-rate=0.4-turns=9",
    ]


def test_settings_come_from_the_plan_the_pair_the_strategy_and_the_point(cells):
    cell = cells()["sums/two/replace-rate=0.1"]
    assert cell.settings == {
        "preset": "pair",
        "rate": 0.1,
        "target_device": "cpu",
        "draft_device": "cuda",
        "on_reject": "replace",
    }
    parsed = cell.parsed()
    assert parsed.roles["draft"].options.device == "cuda"
    assert parsed.roles["target"].options.device == "cpu"


def test_a_strategy_is_spared_what_it_has_no_use_for(cells):
    """The pair's target means nothing to the draft alone, nor does the plan's rate."""
    assert cells()["sums/two/draft-only"].settings == {"preset": "pair", "draft_device": "cuda"}
    assert cells()["sums/one/draft-only"].settings == {"preset": "pair", "device": "cpu"}


def test_what_nobody_knows_is_refused_wherever_it_stands(cells):
    with pytest.raises(SettingError, match=r"line 4: draft-only: .*'rat'.*rate"):
        cells(PLAN.replace("rate: 0.3", "rat: 0.3"))


def test_presets_are_joined(cells):
    found = cells(PLAN.replace("{on_reject: replace}", "{preset: paper, rule: pvalue}"))
    assert found["sums/one/replace-rate=0.1"].settings["preset"] == "pair+paper"


def test_a_row_of_the_plan_as_the_rate_of_another(cells, tmp_path):
    cell = cells()["products/two/random-takeover"]
    assert cell.needs == "products/two/replace-rate=0.2"
    assert "rate_of" not in cell.settings
    with pytest.raises(SettingError, match=r"line 16: .*'replace-rate=0.3'.*replace-rate=0.2"):
        cells(PLAN.replace("rate_of: replace-rate=0.2", "rate_of: replace-rate=0.3"))
    with pytest.raises(SettingError, match="takes its own rate from another row"):
        cells(PLAN.replace("rate_of: replace-rate=0.2", "rate_of: random-takeover"))


def test_a_path_as_the_rate_of_another(cells, tmp_path):
    (tmp_path / "earlier").mkdir()
    found = cells(PLAN.replace("rate_of: replace-rate=0.2", "rate_of: earlier"))
    cell = found["sums/one/random-takeover"]
    assert (cell.needs, cell.settings["rate_of"]) == (None, "earlier")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name: replace", "name: draft-only", None),
        ("- draft-only", "- draft-only\n  - draft-only", "'draft-only'.*the other: line 10"),
        ("[sums, products]", "[sums, sums]", "'sums'.*the other: line 8"),
    ],
)
def test_two_cells_of_one_name(cells, old, new, message):
    text = PLAN.replace(old, new)
    if message is None:  # with its point the name is another one
        text = text.replace("rate_of: replace", "rate_of: draft-only")
        assert len(cells(text)) == 16
    else:
        with pytest.raises(SettingError, match=message):
            cells(text)


def test_the_order_is_drawn_and_the_same_for_the_same_seed(cells):
    found = list(cells().values())
    orders = [[cell.name for cell in in_order(found, seed)] for seed in range(6)]
    assert orders[1] == [cell.name for cell in in_order(found, 1)]
    assert len({tuple(order) for order in orders}) > 1
    blocks = {tuple(name.rsplit("/", 1)[1] for name in order[:4]) for order in orders}
    assert len(blocks) > 1
    for order in orders:
        assert sorted(order) == sorted(cells())
        # A pair's servers are started once.
        pairs = [name.split("/")[1] for name in order]
        assert pairs == ["one"] * 8 + ["two"] * 8
        for name, cell in cells().items():
            if cell.needs:
                assert order.index(cell.needs) < order.index(name)
    rows = [[name.split("/")[2] for name in order] for order in orders]
    assert any(row[:4] != row[4:8] for row in rows)  # each task has an order of its own


def test_an_order_that_is_not_drawn_is_the_plans(cells):
    text = PLAN.replace("  - draft-only\n", "").replace("tasks:", "shuffle: false\ntasks:")
    text = text.replace("  - strategy: atts", "  - draft-only\n  - strategy: atts")
    listed = [cell for cell in cells(text).values() if cell.pair == "one"]
    assert in_order(listed, 1, shuffle=False) == listed
    backwards = in_order(listed[::-1], 1, shuffle=False)
    names = [cell.name for cell in backwards]
    assert names.index("sums/one/replace-rate=0.2") < names.index("sums/one/random-takeover")


def options_of(command):
    """Options of a command, by name; those without a value are True."""
    found = {}
    for place, word in enumerate(command):
        if word.startswith("--"):
            following = command[place + 1 : place + 2]
            bare = not following or following[0].startswith("--")
            found[word] = True if bare else following[0]
    return found


def test_what_a_cell_asks_its_framework_for(read, cells):
    text = PLAN.replace("limit: 40", "limit: 40\nsystem_instruction: Be brief.\ninclude_path: .")
    cell = cells(text)["sums/one/replace-rate=0.1"]
    asked = cell.evaluation(read(text).plan, {"target_url": "http://h:1"})
    assert asked == Evaluation(
        task="sums",
        strategy="atts",
        settings={**cell.settings, "target_url": "http://h:1"},
        limit=40,
        metadata={"repeats": 4},
        system_instruction="Be brief.",
        include_path=".",
    )


CALIBRATED = PLAN.replace(
    "points: {rate: [0.1, 0.2]}",
    "points: {rate: [0.1, 0.2], coverage: [turn, marginal]}\n"
    "    calibrate: {questions: 8, repeats: 2, metadata: {problem_seed: 5}}",
).replace("replace-rate=0.2", "replace-rate=0.2-coverage=turn")


def test_the_command_of_a_calibration(read, cells, tmp_path):
    cell = cells(CALIBRATED)["sums/one/replace-rate=0.1-coverage=turn"]
    command = calibrate_command(cell, read(CALIBRATED).plan, tmp_path / "bank.json", {})
    assert command[:2] == ["calibrate", str(tmp_path / "bank.json")]
    options = options_of(command)
    args = json.loads(options.pop("--model-args"))
    assert args == {k: v for k, v in cell.settings.items() if k != "coverage"}
    assert json.loads(options.pop("--metadata")) == {"problem_seed": 5, "repeats": 2}
    assert options == {"--task": "sums", "--questions": "8", "--evaluated": "40"}


def test_cells_share_a_bank_where_their_scores_are_alike(read, cells):
    plan = read(CALIBRATED).plan
    banks = {n: calibrations.of_cell(c, plan).bank for n, c in cells(CALIBRATED).items()}
    turn, marginal = (
        banks[f"sums/one/replace-rate=0.1-coverage={c}"] for c in ("turn", "marginal")
    )
    other = banks["sums/one/replace-rate=0.2-coverage=turn"]
    assert turn == marginal  # what is done with scores does not change them
    assert turn != other  # later turns went through takeovers at another rate
    assert turn != banks["products/one/replace-rate=0.1-coverage=turn"]
    assert turn != banks["sums/two/replace-rate=0.1-coverage=turn"]
    first = CALIBRATED.replace("questions: 8,", "questions: 8, turns: 1,")
    banks = {n: calibrations.of_cell(c, plan).bank for n, c in cells(first).items()}
    rates = {banks[f"sums/one/replace-rate={r}-coverage=turn"] for r in (0.1, 0.2)}
    assert len(rates) == 1  # nothing is taken over where only first turns are scored


@pytest.fixture
def known(read, cells):
    """A status in which every cell was started."""
    plan = read().plan
    status = merged(None, list(cells().values()), plan, "plan.yaml")
    for cell in status.cells:
        cell.starts, cell.state = 1, "done"
    return msgspec.json.decode(msgspec.json.encode(status), type=type(status))


def test_new_cells_are_added_and_old_ones_kept_apart(read, cells, known):
    text = PLAN.replace("[0.1, 0.2]", "[0.2, 0.4]")
    status = merged(known, list(cells(text).values()), read(text).plan, "plan.yaml")
    states = {cell.name: cell.state for cell in status.cells}
    assert states["sums/one/replace-rate=0.4"] == "pending"
    assert states["sums/one/replace-rate=0.2"] == "done"
    assert {cell.row for cell in status.dropped} == {"replace-rate=0.1"}
    # ... and taken up again when the plan has them again.
    again = merged(status, list(cells().values()), read().plan, "plan.yaml")
    assert again.cell("sums/one/replace-rate=0.1").state == "done"
    assert {cell.row for cell in again.dropped} == set()  # rate=0.4 was never started


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("{on_reject: replace}", "{on_reject: continue}",
         'settings.on_reject was "replace", now "continue"'),
        ("limit: 40", "limit: 20", "task.limit was 40, now 20"),
        ("repeats: 4\n", "", "task.repeats was 4, now not set"),
        ("rate_of: replace-rate=0.2", "rate_of: replace-rate=0.1",
         'rate_of was "sums/one/replace-rate=0.2", now "sums/one/replace-rate=0.1"'),
        ("{device: cpu}", "{device: cpu, trust_remote_code: true}",
         "settings.trust_remote_code was not set, now true"),
    ],
)  # fmt: skip
def test_a_changed_cell_is_refused_with_the_difference(read, cells, known, old, new, difference):
    text = PLAN.replace(old, new, 1)
    with pytest.raises(RunDirError) as raised:
        merged(known, list(cells(text).values()), read(text).plan, "plan.yaml")
    assert difference in str(raised.value)
    assert "--redo" in str(raised.value)


def test_a_limit_may_grow_but_for_cells_whose_rate_or_bank_it_decides(read, cells, known):
    text = PLAN.replace("limit: 40", "limit: 80")
    with pytest.raises(RunDirError) as raised:
        merged(known, list(cells(text).values()), read(text).plan, "plan.yaml")
    refused = [name for name, cell in cells().items() if cell.needs is not None]
    assert refused
    for name in refused:
        assert f"{name}: task.limit was 40, now 80" in str(raised.value)
    assert "draft-only" not in str(raised.value)
    free = [cell for cell in cells(text).values() if cell.needs is None]
    status = merged(known, free, read(text).plan, "plan.yaml")
    assert {(cell.state, cell.starts) for cell in status.cells} == {("pending", 1)}
    assert {cell.identity["task"]["limit"] for cell in status.cells} == {80}
    # Every problem is more than some, and some are fewer than all.
    every = PLAN.replace("limit: 40", "limit: null")
    free = [cell for cell in cells(every).values() if cell.needs is None]
    grown = merged(status, free, read(every).plan, "plan.yaml")
    with pytest.raises(RunDirError, match=r"task\.limit was not set, now 40"):
        merged(grown, list(cells().values()), read().plan, "plan.yaml")


def test_a_cell_that_was_never_started_may_change(read, cells, known):
    for cell in known.cells:
        cell.starts, cell.state = 0, "pending"
    text = PLAN.replace("limit: 40", "limit: 80")
    status = merged(known, list(cells(text).values()), read(text).plan, "plan.yaml")
    assert {cell.identity["task"]["limit"] for cell in status.cells} == {80}


def test_addresses_and_patience_may_change(read, cells):
    plan = read().plan
    before = identity(cells()["sums/one/draft-only"], plan)
    patient = PLAN.replace(
        "preset: pair,", "preset: pair, retries: 9, timeout: 5, progress: plain,"
    )
    assert identity(cells(patient)["sums/one/draft-only"], plan) == before
    seeded = PLAN.replace("preset: pair,", "preset: pair, seed: 9,")
    assert identity(cells(seeded)["sums/one/draft-only"], plan) != before


def test_the_folder_holds_one_status_and_one_comparison(tmp_path, known):
    folder = Folder(tmp_path / "out")
    assert folder.read() is None
    folder.write(known)
    assert read_status(tmp_path / "out") == known
    (tmp_path / "out" / "compare.json").write_text('{"name": "x"}')
    with pytest.raises(RunDirError, match="not the status of a comparison"):
        folder.read()
    known.version = 99
    folder.write(known)
    with pytest.raises(RunDirError, match="is of version 99, this package reads 1"):
        folder.read()
    folder.close()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match=r"^out: .*file/out: Not a directory; choose another"):
        Folder(tmp_path / "file" / "out")


@pytest.fixture
def written(cells, read, tmp_path):
    """A comparison's folder with its status, and what changes the file."""
    folder = Folder(tmp_path / "out")
    plan = read().plan
    status = merged(None, list(cells().values()), plan, "plan.yaml")
    for cell in status.cells:
        cell.starts, cell.state = 1, "done"
    folder.write(status)
    file = tmp_path / "out" / "compare.json"

    def change(how, seal=True):
        document = json.loads(file.read_text())
        how(document)
        if seal:
            del document["digest"]
        file.write_text(json.dumps(document))
        return folder

    yield change
    folder.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("folder", "../neighbour"),
        ("folder", "/etc"),
        ("folder", "cells/sums/one/../../../../neighbour"),
        ("folder", "cells/products/one/draft-only"),
        ("folder", "."),
        ("folder", ""),
        ("name", "../../neighbour"),
        ("name", "a/b/c/d"),
        ("name", "a/../c"),
        ("name", "\x1b[2J/b/c"),
        ("log", "../../../.bashrc"),
        ("log", "/dev/sda"),
        ("results", "/etc/passwd"),
        ("results", "cells/sums/one/draft-only/../../../../x.json"),
        ("calibration", {"bank": "../bank.json", "run_dir": "calibrations/x"}),
        ("calibration", {"bank": "calibrations/x", "run_dir": "/"}),
    ],
)
@pytest.mark.parametrize("kept", ["cells", "dropped"])
def test_a_path_inside_the_status_stays_inside_its_folder(written, tmp_path, field, value, kept):
    (tmp_path / "neighbour").mkdir()

    def harm(document):
        document["cells"][0][field] = value
        if kept == "dropped":
            document["dropped"] = document.pop("cells")

    folder = written(harm)
    with pytest.raises(RunDirError, match="outside its own folder"):
        start_afresh(folder, folder.read(), ["*"])
    assert (tmp_path / "neighbour").is_dir()
    assert not (tmp_path / "out.aside").exists()


def test_a_status_that_was_changed_is_refused(written):
    def better(document):
        document["cells"][0]["accuracy"] = 1.0

    folder = written(better, seal=False)
    with pytest.raises(RunDirError, match="damaged, or was edited"):
        folder.read()
    assert written(lambda document: None).read().cells[0].accuracy == 1.0  # said to be on purpose
