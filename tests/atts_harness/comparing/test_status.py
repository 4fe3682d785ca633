"""The status of a comparison: what may change, and what is refused."""

import json

import msgspec
import pytest

from atts_harness.comparing.afresh import start_afresh
from atts_harness.comparing.status import Folder, identity, merged, read_status
from atts_harness.errors import RunDirError

from .conftest import GRID


@pytest.fixture
def known(read, expanded):
    """A status in which every cell was started."""
    plan = read().plan
    status = merged(None, list(expanded().values()), plan, "plan.yaml")
    for cell in status.cells:
        cell.starts, cell.state = 1, "done"
    return msgspec.json.decode(msgspec.json.encode(status), type=type(status))


def test_new_cells_are_added_and_old_ones_kept_apart(read, expanded, known):
    text = GRID.replace("[0.1, 0.2]", "[0.2, 0.4]")
    status = merged(known, list(expanded(text).values()), read(text).plan, "plan.yaml")
    states = {cell.name: cell.state for cell in status.cells}
    assert states["sums/one/replace-rate=0.4"] == "pending"
    assert states["sums/one/replace-rate=0.2"] == "done"
    assert {cell.row for cell in status.dropped} == {"replace-rate=0.1"}
    # ... and taken up again when the plan has them again.
    again = merged(status, list(expanded().values()), read().plan, "plan.yaml")
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
def test_a_changed_cell_is_refused_with_the_difference(read, expanded, known, old, new, difference):
    text = GRID.replace(old, new, 1)
    with pytest.raises(RunDirError) as raised:
        merged(known, list(expanded(text).values()), read(text).plan, "plan.yaml")
    assert difference in str(raised.value)
    assert "--redo" in str(raised.value)


def test_a_limit_may_grow_but_for_cells_whose_rate_or_bank_it_decides(read, expanded, known):
    text = GRID.replace("limit: 40", "limit: 80")
    with pytest.raises(RunDirError) as raised:
        merged(known, list(expanded(text).values()), read(text).plan, "plan.yaml")
    refused = [name for name, cell in expanded().items() if cell.needs is not None]
    assert refused
    for name in refused:
        assert f"{name}: task.limit was 40, now 80" in str(raised.value)
    assert "draft-only" not in str(raised.value)
    free = [cell for cell in expanded(text).values() if cell.needs is None]
    status = merged(known, free, read(text).plan, "plan.yaml")
    assert {(cell.state, cell.starts) for cell in status.cells} == {("pending", 1)}
    assert {cell.identity["task"]["limit"] for cell in status.cells} == {80}
    # Every problem is more than some, and some are fewer than all.
    every = GRID.replace("limit: 40", "limit: null")
    free = [cell for cell in expanded(every).values() if cell.needs is None]
    grown = merged(status, free, read(every).plan, "plan.yaml")
    with pytest.raises(RunDirError, match=r"task\.limit was not set, now 40"):
        merged(grown, list(expanded().values()), read().plan, "plan.yaml")


def test_a_cell_that_was_never_started_may_change(read, expanded, known):
    for cell in known.cells:
        cell.starts, cell.state = 0, "pending"
    text = GRID.replace("limit: 40", "limit: 80")
    status = merged(known, list(expanded(text).values()), read(text).plan, "plan.yaml")
    assert {cell.identity["task"]["limit"] for cell in status.cells} == {80}


def test_addresses_and_patience_may_change(read, expanded):
    plan = read().plan
    before = identity(expanded()["sums/one/draft-only"], plan)
    patient = GRID.replace(
        "preset: pair,", "preset: pair, retries: 9, timeout: 5, progress: plain,"
    )
    assert identity(expanded(patient)["sums/one/draft-only"], plan) == before
    seeded = GRID.replace("preset: pair,", "preset: pair, seed: 9,")
    assert identity(expanded(seeded)["sums/one/draft-only"], plan) != before


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
def written(expanded, read, tmp_path):
    """A comparison's folder with its status, and what changes the file."""
    folder = Folder(tmp_path / "out")
    plan = read().plan
    status = merged(None, list(expanded().values()), plan, "plan.yaml")
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
