#!/bin/bash
# A comparison in a SLURM allocation: Ray on every node of it, the driver on the first.
#
#   sbatch slurm.sh plan.yaml [options of atts compare]
#
# Submit it from the folder that is to hold the results; it may lie on a network file system, for
# journals are written on the nodes' disks (docs/cluster.md).
#SBATCH --job-name=atts
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:INT@300
# Five minutes before the end the comparison winds down; the same command goes on.
set -euo pipefail

nodes=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=$(head -n 1 <<<"$nodes")
count=$(wc -l <<<"$nodes")
port=$((20000 + SLURM_JOB_ID % 10000))
on_head="srun --overlap --nodes=1 --ntasks=1 --nodelist=$head"
address=$($on_head hostname --all-ip-addresses | awk '{print $1}'):$port
export RAY_USAGE_STATS_ENABLED=0
# Nobody but this job can use its cluster: SLURM hands the token on to the nodes.
export RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN

stop() { kill $(jobs -p) 2>/dev/null || true; wait; }
trap stop EXIT

cpus="--num-cpus=${SLURM_CPUS_PER_TASK:-1}"
$on_head ray start --head --node-ip-address="${address%:*}" --port="$port" \
  --include-dashboard=false "$cpus" --block &
until ray status --address "$address" >/dev/null 2>&1; do sleep 2; done
if [ "$count" -gt 1 ]; then
  srun --overlap --nodes=$((count - 1)) --ntasks=$((count - 1)) --exclude="$head" \
    ray start --address="$address" "$cpus" --block &
fi
python - "$address" "$count" <<'PYTHON'
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(2)
PYTHON

atts compare "$@" --ray "$address" &
driver=$!
trap 'kill -INT $driver' INT TERM
status=0
wait $driver || status=$?
# A signal ends `wait` at once; the comparison itself takes a moment to wind down.
if kill -0 $driver 2>/dev/null; then status=0; wait $driver || status=$?; fi
exit $status
