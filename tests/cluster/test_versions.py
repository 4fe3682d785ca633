"""Another version of Ray: on the driver, on a node that would join, and on one that has joined."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import SMALL_PLAN, STORE, WAIT_SECONDS

ray = pytest.importorskip("ray")
pytest.importorskip("atts_mock_cells")

OTHER = "2.0.9"


@pytest.fixture
def other(tmp_path):
    """A folder with a Ray of another version: this one, by links, that says so."""
    installed = Path(ray.__file__).parent
    copy = tmp_path / "other" / "ray"
    copy.mkdir(parents=True)
    for entry in installed.iterdir():
        if entry.name not in ("__pycache__", "_version.py"):
            (copy / entry.name).symlink_to(entry)
    (copy / "_version.py").write_text(f'version = "{OTHER}"\ncommit = "none"\n')
    return str(copy.parent)


def test_another_ray_is_refused_in_a_line(comparison, machine, other, monkeypatch):
    machine.have(1)
    comparison.plan(SMALL_PLAN)
    python = ".".join(map(str, sys.version_info[:3]))
    with monkeypatch.context() as changed:
        changed.setenv("PYTHONPATH", other)
        assert comparison.refuse() == (
            f"atts: error: ray: {machine.address}: the cluster has Ray {ray.__version__} on Python "
            f"{python}, and this machine Ray {OTHER} on Python {python}; install the same Ray and "
            "Python on all nodes"
        )
    # A node that would join is refused by Ray itself.
    joined = subprocess.run(
        [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={machine.address}"],
        env=os.environ | {"PYTHONPATH": other},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
    )
    assert joined.returncode != 0
    told = joined.stdout + joined.stderr
    assert "RuntimeError: Version mismatch: " in told
    assert f"Ray: {ray.__version__}\n" in told
    assert f"Ray: {OTHER}\n" in told
    # One whose Ray was replaced after it had joined starts workers of another version.
    node = machine.cluster.add_node(
        num_cpus=1, object_store_memory=STORE, env_vars={"PYTHONPATH": other}
    )
    machine.cluster.wait_for_nodes(WAIT_SECONDS)
    try:
        told = comparison.refuse()
    finally:
        machine.cluster.remove_node(node, allow_graceful=False)
    assert f" has ray {OTHER}, and this machine {ray.__version__}; install the same on all" in told
