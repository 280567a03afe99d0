"""The end of every job script: a cell that is to be started again puts its own job back into SLURM's queue."""

from __future__ import annotations

from ssm_bench.launch.supervisor import AGAIN
from ssm_bench.training.preemption import SIGNALS

#: Exit statuses of srun after which the job is requeued: the cell asks for it, or a stop signal ended a process before
#: it had installed its handler, or after it had removed it (a shell reports signal N as status 128 + N).
REQUEUED_STATUSES = (AGAIN, *(128 + number for number in SIGNALS))

#: Shell lines behind srun. SLURM's own ways to end a job (scancel, a requeue by hand, a failed node) end this script,
#: too, so what they intend happens. The sleep keeps the script alive until SLURM ends it for the requeue.
REQUEUE = f"""\
status=$?
case $status in
{"|".join(map(str, REQUEUED_STATUSES))})
    scontrol requeue "$SLURM_JOB_ID" && sleep 300
esac
exit $status"""
