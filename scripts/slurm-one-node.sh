#!/bin/bash
# slurm-one-node.sh COMMAND...: run a command while SLURM runs on this machine alone, as one node
# with declared devices (Debian: apt-get install slurm-wlm munge; needs root).
set -euo pipefail
[ "$(id -u)" = 0 ] || { echo "slurm-one-node.sh: needs root" >&2; exit 1; }
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || { echo "apt-get install slurm-wlm munge" >&2; exit 1; }
done
folder=$(mktemp -d)
started=()
stop() {
  scancel --user="$(id -un)" 2>/dev/null || true
  for _ in $(seq 60); do [ -n "$(squeue --noheader 2>/dev/null)" ] || break; sleep 1; done
  for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait || true
  rm -rf "$folder"
}
trap stop EXIT
name=$(hostname -s)
mkdir -p "$folder/state" "$folder/spool" /run/munge
chown munge: /run/munge
[ -f /etc/munge/munge.key ] || { dd if=/dev/urandom bs=1 count=1024 status=none > /etc/munge/munge.key; }
chown munge: /etc/munge/munge.key && chmod 400 /etc/munge/munge.key
cat > "$folder/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$name(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldPort=26817
SlurmdPort=26818
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
GresTypes=gpu
MpiDefault=none
NodeName=$name NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=2000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=$name Default=YES MaxTime=INFINITE State=UP
CONF
# Two devices that every machine has stand for GPUs.
printf 'Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n' > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf
pgrep -x munged >/dev/null || { runuser -u munge -- munged --foreground > "$folder/munged.log" 2>&1 & started+=($!); sleep 1; }
slurmctld -D > "$folder/slurmctld.log" 2>&1 & started+=($!)
slurmd -D > "$folder/slurmd.log" 2>&1 & started+=($!)
for _ in $(seq 60); do
  if sinfo --noheader --format=%t 2>/dev/null | grep -qx idle; then
    "$@"
    exit
  fi
  sleep 1
done
tail -n 20 "$folder"/*.log >&2
exit 1
