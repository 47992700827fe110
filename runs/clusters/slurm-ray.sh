#!/bin/bash
# One run whose environments are stepped on several nodes of a Slurm cluster, by Ray; the learner is on the first one.
#
#   sbatch --nodes=4 runs/clusters/slurm-ray.sh SPEC RUN [options of rl2 train]
#
# RUN is the run's folder, on a disk that every node has. Each start is the same command, and goes on with the run; the
# number of nodes may be another one then.
#SBATCH --job-name=rl2-ray
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

spec=${1:?sbatch slurm-ray.sh SPEC RUN}
run=${2:?sbatch slurm-ray.sh SPEC RUN}
shift 2

# Whoever reaches the ports of Ray can run anything: they ask for a token that only this job has.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) # where this script runs
others=$((SLURM_JOB_NUM_NODES - 1))
port=$((20000 + SLURM_JOB_ID % 10000))
address=$(python -c 'import ray; print(ray.util.get_node_ip_address())'):$port
workers=$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK - 1)) # one core is the learner's

cluster=()
end() {
    trap - EXIT
    if [ ${#cluster[@]} -gt 0 ]; then kill -TERM "${cluster[@]}" 2>/dev/null; fi # srun then kills what it started
    rm -rf "/tmp/ray-$SLURM_JOB_ID"
}
trap end EXIT
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --node-ip-address="${address%:*}" --port="$port" --num-cpus=$((SLURM_CPUS_PER_TASK - 1)) \
    --temp-dir="/tmp/ray-$SLURM_JOB_ID" --include-dashboard=false --block &
cluster+=($!)

wait_for_nodes() {
    timeout 600 python - "$address" "$1" <<'PYTHON'
import sys, time
import ray
while not ray.is_initialized():
    try:
        ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
    except Exception:
        time.sleep(1)
while sum(node["Alive"] for node in ray.nodes()) < int(sys.argv[2]):
    time.sleep(1)
PYTHON
}

# SIGTERM reaches this shell, and is handed on to the learner once. That one runs without srun, which answers SIGTERM by
# killing at once.
learner=
stopped=
stop() {
    if [ -z "$stopped" ] && [ -n "$learner" ]; then kill -TERM "$learner"; fi
    stopped=yes
}
trap stop TERM

(
    trap - EXIT TERM
    wait_for_nodes 1 || exit
    if [ "$others" -gt 0 ]; then
        srun --nodes="$others" --ntasks="$others" --exclude="$head" \
            ray start --address="$address" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    fi
    wait_for_nodes "$SLURM_JOB_NUM_NODES" || exit
    exec rl2 train "$spec" --run-dir "$run" --resume \
        --set 'scale.engine="ray"' --set "scale.address=\"$address\"" --set "scale.workers=$workers" "$@"
) &
learner=$!
if [ -n "$stopped" ]; then kill -TERM "$learner"; fi # it came while the learner had no number yet
until
    wait "$learner"
    code=$?
    ! kill -0 "$learner" 2>/dev/null
do :; done

# A job that Slurm preempts it queues again itself, and one that is cancelled stays so: neither is `incomplete`.
if [ -n "$stopped" ] && [ "$code" -ne 0 ]; then
    scontrol requeue incomplete "$SLURM_JOB_ID"
fi
exit "$code"
