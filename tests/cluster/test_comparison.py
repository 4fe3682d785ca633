"""Comparisons on a real cluster: results, kills at every point, and nothing left behind."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

import atts_tiny
import pytest
from atts_ray.cluster import SLOW_START

import atts_harness

from .conftest import WAIT_SECONDS, alive, command_of, descendants, until

pytest.importorskip("ray")
pytest.importorskip("atts_mock_cells")

INSIDE = """
framework: mock
tasks: mock
limit: 6
repeats: 2
shuffle: false
pairs: {inside: {backend: mock, draft: d, target: t, mock_seconds: %s, live_samples: 3}}
strategies:
  - {strategy: atts, settings: {rate: 0.3, coverage: marginal}, calibrate: {questions: 8, turns: 1}}
  - draft-only
  - {strategy: random-takeover, settings: {rate_of: atts}}
"""
DRAFTS = INSIDE[: INSIDE.index("strategies:")] + "strategies: [draft-only]\n"
MODELS = Path(atts_tiny.__file__).parent / "models"
SERVED = f"""
framework: mock
tasks: mock
limit: 4
repeats: 2
shuffle: false
pairs:
  served:
    backend: mock-served
    draft: {MODELS / "draft"}
    target: {MODELS / "target"}
    draft_devices: "0"
    target_devices: "0"
    server_args: "--base %s"
strategies: [mock-turns]
"""


def kept(before, after):
    """Whether every call of an earlier state is in a later one, made at the same time."""
    return before.items() <= after.items()


def test_results_are_those_without_ray(comparison, machine, tmp_path):
    machine.have(2)
    comparison.plan(INSIDE % 0.02)
    comparison.run()
    on_ray = comparison.texts()
    assert sorted(on_ray) == ["atts", "draft-only", "random-takeover"]
    assert {cell["state"] for cell in comparison.cells.values()} == {"done"}
    assert all(cell["machine"] for cell in comparison.cells.values())
    comparison.nothing_is_left()
    shutil.move(comparison.out, tmp_path / "on-ray")
    comparison.run(ray=False)
    assert comparison.texts() == on_ray


def find_folder_on_node(pid):
    """The folder of the host that has started a process; all that the process has is in it."""
    folder = Path(f"/proc/{pid}/cwd").readlink().parent
    assert folder.name.startswith("atts-ray-")
    assert folder.is_relative_to(tempfile.gettempdir())
    return folder


def orphan(comparison, machine, pid, run_dir, *, killed=False):
    """A node goes, and its work goes on elsewhere; then its process writes on, without a folder.

    The node is frozen, and comes back, or its raylet is killed. Returns the calls that were
    committed before.
    """
    folder, node = find_folder_on_node(pid), machine.node_of(pid)
    frozen = machine.freeze(node)
    assert pid in frozen
    before, _ = comparison.journal(run_dir)
    if killed:
        machine.kill(node)
    until(lambda: int((run_dir / "epoch").read_text()) > 1, lambda: comparison.said)
    assert alive(pid)
    shutil.rmtree(folder)
    machine.thaw_alone(pid)  # so that nothing but the refusal ends it
    until(lambda: not alive(pid), lambda: comparison.said)
    late = f"{run_dir.relative_to(comparison.folder)}: refused what was written late: attempt 1 was"
    assert f"{late} given up, and attempt " in comparison.said
    assert not folder.exists()
    machine.thaw(node, frozen)
    return before


def test_a_node_dies_under_a_cell_and_its_orphan_writes_on(comparison, machine):
    machine.have(2)
    comparison.plan(DRAFTS % 0.4)
    comparison.start()
    run_dir = comparison.out / "cells" / "mock" / "inside" / "draft-only"
    until(lambda: comparison.journal(run_dir)[1] >= 2, lambda: comparison.said)
    (cell,) = comparison.below("mock-cell", "draft-only")
    before = orphan(comparison, machine, cell, run_dir)
    comparison.end()
    after, samples = comparison.journal(run_dir)
    assert samples == 12
    assert kept(before, after)
    assert comparison.cells["draft-only"]["state"] == "done"
    assert comparison.cells["draft-only"]["starts"] == 2
    assert "it goes on elsewhere" in comparison.said


def test_a_node_dies_under_a_calibration_and_its_orphan_writes_on(comparison, machine):
    machine.have(2)
    comparison.plan(INSIDE % 0.3)
    comparison.start()
    runs = comparison.out / "calibrations"
    until(
        lambda: any(len(comparison.journal(p)[0]) > 4 for p in runs.glob("*/bank.json.run")),
        lambda: comparison.said,
    )
    (run_dir,) = runs.glob("*/bank.json.run")
    (calibration,) = comparison.below("calibrate", "bank.json")
    before = orphan(comparison, machine, calibration, run_dir, killed=True)
    comparison.end()
    after, samples = comparison.journal(run_dir)
    assert samples == 8
    assert kept(before, after)
    assert {cell["state"] for cell in comparison.cells.values()} == {"done"}
    # Ray may give out the dead node's place again before it has noticed.
    assert comparison.cells["atts"]["starts"] >= 2


def test_a_node_dies_while_a_server_starts_and_goes_on_starting_it(comparison, machine):
    machine.have(2)
    comparison.plan(SERVED % 0.05)
    comparison.start()
    (server, *_) = until(lambda: comparison.below("serve-models"), lambda: comparison.said)
    node = machine.node_of(server)
    frozen = machine.freeze(node)
    assert "the servers answer" not in comparison.said
    until(lambda: "the servers answer" in comparison.said, lambda: comparison.said)
    assert "it goes on elsewhere" in comparison.said
    servers = [pid for pid in frozen if "serve-models" in command_of(pid)]
    assert server in servers
    for folder in {find_folder_on_node(pid) for pid in servers}:
        shutil.rmtree(folder)
    machine.thaw(node, frozen)
    until(lambda: not any(map(alive, servers)), lambda: comparison.left())
    comparison.end()
    assert {cell["state"] for cell in comparison.cells.values()} == {"done"}
    assert comparison.said.count("the servers answer") == 1  # not those that came back
    logs = {path.name for path in (comparison.out / "servers").rglob("*.log")}
    assert logs == {"serve-models.log", "draft-mock.log", "target-mock.log"}
    # Each server had a GPU of its own, of those that Ray gave.
    told = "".join(path.read_text() for path in (comparison.out / "servers").rglob("serve-*.log"))
    assert "--model_args draft_backend=mock-served,draft_url=http://" in told


def test_a_killed_driver_leaves_nothing_and_resumes(comparison, machine):
    machine.have(2)
    comparison.plan(SERVED % 0.4)
    comparison.start()
    folder = comparison.out / "cells" / "mock" / "served" / "mock-turns"
    until(lambda: comparison.journal(folder)[1] >= 1, lambda: comparison.said)
    assert len(comparison.below("mock_server")) >= 2
    comparison.kill_driver()
    comparison.nothing_is_left()
    before, samples = comparison.journal(folder)
    assert 1 <= samples < 8
    comparison.run()
    after, samples = comparison.journal(folder)
    assert samples == 8
    assert kept(before, after)
    assert {cell["state"] for cell in comparison.cells.values()} == {"done"}


def test_ctrl_c_winds_everything_down(comparison, machine):
    machine.have(2)
    comparison.plan(INSIDE % 0.3)
    comparison.start()
    folder = comparison.out / "cells" / "mock" / "inside" / "draft-only"
    until(lambda: comparison.journal(folder)[1] >= 1, lambda: comparison.said)
    comparison.driver.send_signal(signal.SIGINT)
    comparison.end(130)
    comparison.nothing_is_left()
    assert {cell["state"] for cell in comparison.cells.values()} <= {"interrupted", "pending"}
    assert "SIGINT: stopped; to continue:" in comparison.said
    before, _ = comparison.journal(folder)
    log = (folder / "log.txt").read_text()
    assert "SIGINT" in log  # it wound down by itself: nobody killed it
    comparison.run()
    assert kept(before, comparison.journal(folder)[0])
    assert "goes on elsewhere" not in comparison.said


def locally(comparison, goes):
    """Start a comparison on a cluster of its own, several times if the machine is too busy."""
    for _ in range(8):
        comparison.start(ray="local")
        until(lambda: goes() or comparison.driver.poll() is not None, lambda: comparison.said)
        if comparison.driver.poll() is None:
            return
        assert SLOW_START in comparison.said.splitlines()[-1]
    raise AssertionError(comparison.said)


def test_a_local_cluster_that_dies_and_a_signal_to_the_whole_group(comparison):
    comparison.plan(DRAFTS % 0.4)
    folder = comparison.out / "cells" / "mock" / "inside" / "draft-only"

    def made(more_than):
        return lambda: comparison.journal(folder)[1] > more_than

    locally(comparison, made(0))
    (head,) = [pid for pid in descendants(comparison.driver.pid) if "gcs_server" in command_of(pid)]
    os.kill(head, signal.SIGKILL)
    comparison.end(1)
    *_, told = [line for line in comparison.said.splitlines() if line.startswith("atts: error: ")]
    assert " is gone; to continue: " in told
    comparison.nothing_is_left()
    assert comparison.cells["draft-only"]["state"] == "interrupted"
    before, samples = comparison.journal(folder)
    assert samples < 12
    locally(comparison, made(samples))
    os.killpg(comparison.driver.pid, signal.SIGTERM)
    comparison.end(128 + signal.SIGTERM)
    comparison.nothing_is_left()
    assert comparison.cells["draft-only"]["state"] == "interrupted"
    assert "SIGINT: no new calls" in (folder / "log.txt").read_text()  # it wound down by itself
    after, samples = comparison.journal(folder)
    assert kept(before, after)
    comparison.run(ray=False)
    assert kept(after, comparison.journal(folder)[0])
    assert comparison.journal(folder)[1] == 12


def test_what_cannot_run_is_refused_in_a_line(comparison, machine, tmp_path):
    machine.have(1)
    comparison.plan(INSIDE % 0)
    told = comparison.refuse(ray="127.0.0.1:1")
    assert told.startswith("atts: error: ray: nothing answers at 127.0.0.1:1 (")
    told = comparison.refuse(ray="ray://127.0.0.1:10001")
    assert "a client is not a node" in told
    comparison.plan(SERVED.replace('target_devices: "0"', "target_devices: 0+1+2+3") % 0)
    told = comparison.refuse()
    assert told.startswith("atts: error: ray: pair served: its target needs 1 CPU and 4 GPU, and a")
    # A node whose package is another one.
    other = tmp_path / "other"
    shutil.copytree(Path(atts_harness.__file__).parent, other / "atts_harness")
    version = other / "atts_harness" / "_version.py"
    version.write_text('__version__ = "0.0.9"\n')
    node = machine.cluster.add_node(
        num_cpus=1, object_store_memory=80 << 20, env_vars={"PYTHONPATH": str(other)}
    )
    machine.cluster.wait_for_nodes(WAIT_SECONDS)
    try:
        told = comparison.refuse()
    finally:
        machine.cluster.remove_node(node, allow_graceful=False)
    assert "has atts-harness 0.0.9, and this machine " in told
