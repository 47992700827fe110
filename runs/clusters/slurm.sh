#!/bin/bash
# One run on one node of a Slurm cluster: it goes on after preemption, the time limit and a node that fails.
#
#   sbatch runs/clusters/slurm.sh SPEC RUN [options of rl2 train]
#   sbatch --export=ALL,LEARNERS=4 --gpus=4 runs/clusters/slurm.sh SPEC RUN --device cuda
#
# RUN is the run's folder, on a disk that every node has. Each start is the same command, and goes on with the run.
#SBATCH --job-name=rl2
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

spec=${1:?sbatch slurm.sh SPEC RUN}
run=${2:?sbatch slurm.sh SPEC RUN}
shift 2

start=(rl2)
if [ "${LEARNERS:-1}" -gt 1 ]; then
    start=(torchrun --nproc-per-node "$LEARNERS" --master-port $((20000 + SLURM_JOB_ID % 10000)) -m rl2cli)
fi

# SIGTERM reaches this shell, and is handed on once. There is no srun in between: it answers SIGTERM by killing at once.
learner=
stopped=
stop() {
    if [ -z "$stopped" ] && [ -n "$learner" ]; then kill -TERM "$learner"; fi
    stopped=yes
}
trap stop TERM

"${start[@]}" train "$spec" --run-dir "$run" --resume "$@" &
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
