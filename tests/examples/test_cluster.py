"""The files for clusters, as far as they can be held against something without one."""

import subprocess
from pathlib import Path

import yaml

# Of what the manifest uses: KubeRay's API v1, RayJobSpec, RayClusterSpec, HeadGroupSpec and
# WorkerGroupSpec (rayjob_types.go, raycluster_types.go), each with the type of its value.
JOB = {"entrypoint": str, "shutdownAfterJobFinishes": bool, "backoffLimit": int,
       "rayClusterSpec": dict}  # fmt: skip
CLUSTER = {"rayVersion": str, "headGroupSpec": dict, "workerGroupSpecs": list}
HEAD = {"rayStartParams": dict, "template": dict}
WORKERS = HEAD | {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}
FOLDER = Path(__file__).parents[2] / "examples" / "cluster"


def test_the_slurm_script_is_a_script():
    script = FOLDER / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text()
    # Directives have to stand before the first command.
    front = text[: text.index("set -euo pipefail")]
    assert front.count("#SBATCH --") == text.count("#SBATCH --") == 7


def test_the_manifest_says_what_the_page_says():
    job = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"].endswith("atts compare /plan/plan.yaml --ray auto'")
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"] == {"num-cpus": "0"}  # holds no cells
    groups = [head, *cluster["workerGroupSpecs"]]
    types = [(job["spec"], JOB), (cluster, CLUSTER), (head, HEAD), (groups[1], WORKERS)]
    for spec, fields in types:
        assert {name: type(value) for name, value in spec.items()} == fields
    assert all(isinstance(v, str) for group in groups for v in group["rayStartParams"].values())
    images = set()
    for group in groups:
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        images.add(container["image"])
        limits = container["resources"]["limits"]
        assert limits == container["resources"]["requests"]
        volumes = {volume["name"] for volume in spec["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    assert images == {"IMAGE"}  # one for all: versions have to agree
    assert (
        groups[1]["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
        == "8"
    )
    assert "Not run" in (FOLDER / "kuberay.yaml").read_text()
