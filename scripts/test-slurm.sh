#!/bin/bash
# test-slurm.sh: examples/cluster/slurm.sh on a SLURM of one node on this machine (as root; Debian:
# apt-get install slurm-wlm munge), in the environment of test-ray.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${ATTS_RAY_PYTHON:-$PWD/.venv-ray/bin/python}
PATH=$(dirname "$python"):$PATH
export PATH
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cat > "$here/plan.yaml" <<'PLAN'
out: runs/slurm
framework: mock
report: false
tasks: mock
limit: 4
repeats: 2
pairs: {inside: {backend: mock, draft: d, target: t, mock_seconds: 0.05}}
strategies: [draft-only, mock-turns, target-only]
PLAN
script=$PWD/examples/cluster/slurm.sh
scripts=$PWD/scripts
cd "$here"
bash "$scripts/slurm-one-node.sh" sbatch --wait --nodes=1 --cpus-per-task=2 --gpus-per-node=2 \
  --output="$here/job.log" "$script" plan.yaml || { cat "$here/job.log"; exit 1; }
cat "$here/job.log"
grep -q "runs/slurm: 3 done" "$here/job.log"
