"""The end of every job script: if a cell must be started again, its job goes back into SLURM's queue."""

from __future__ import annotations

from ssm_bench.launch.supervisor import AGAIN
from ssm_bench.training.preemption import SIGNALS

#: Exit statuses of srun after which the job is requeued: the cell asks for it, or a stop signal ended a process before
#: it had installed its handler, or after it had removed it (a shell reports signal N as status 128 + N).
REQUEUED_STATUSES = (AGAIN, *(128 + number for number in SIGNALS))

#: Shell lines after srun. If SLURM itself ends the job (scancel, a requeue by hand, a failed node), it also ends this
#: script, so the script does not requeue the job. The sleep keeps the script alive until SLURM ends it for the requeue.
REQUEUE = f"""\
status=$?
case $status in
{"|".join(map(str, REQUEUED_STATUSES))})
    scontrol requeue "$SLURM_JOB_ID" && sleep 300
esac
exit $status"""
