#!/usr/bin/env bash
# A clipsieve run over the machines of a Slurm job: one process a GPU. Submit again after a time limit or a preemption,
# and it goes on where it was.
#
#   sbatch examples/deploy/slurm.sh pipelines/video-quality.yaml --set input=/shared/rows.jsonl --set output=/shared/results.jsonl
#
#SBATCH --job-name=clipsieve
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@60
set -euo pipefail

# All machines have to have it, and nobody else may read it.
secret=${CLIPSIEVE_SECRET_FILE:-$HOME/.clipsieve-secret}
if [ ! -s "$secret" ]; then
  (umask 077 && head -c 32 /dev/urandom | base64 >"$secret")
fi

# srun says to each process which one it is, and where the first one runs (SLURM_PROCID, SLURM_STEP_NODELIST …).
# 60 seconds before the time limit this script is told (TERM), and tells the run to finish what is in flight.
srun --kill-on-bad-exit=0 "${CLIPSIEVE:-target/release/clipsieve}" run "$@" \
  --secret-file "$secret" --grace 45s --progress plain &
step=$!
trap 'kill -TERM $step' TERM
code=0
wait $step || code=$?
# The first wait ends with the signal; the second with the run.
if kill -0 $step 2>/dev/null; then
  code=0
  wait $step || code=$?
fi

# 75: stopped before the last row. Slurm starts the job again, and the run goes on.
if [ "$code" = 75 ] && [ -n "${SLURM_JOB_ID:-}" ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
