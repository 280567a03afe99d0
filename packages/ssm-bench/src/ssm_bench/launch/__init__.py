"""Run a plan in this process, in several local processes, or as SLURM job arrays; show and end its cells.

``cell``               runs one cell and returns its outcome
``in_process``         runs the cells of a plan one after the other, in this process
``launched``           a launched plan on disk, with ``code_snapshot``: a copy of the code that it runs
``supervisor``         starts the process of one cell (``ssm_bench.cli.cell_process``) and reports how it ended
``local_processes``    runs several cell processes at a time on this machine
``slurm_submit``       submits a launched plan to SLURM; ``slurm_arrays`` groups its cells, ``slurm_requeue`` is the
                       part of a job script that starts a cell again, ``slurm_refusals`` explains what sbatch refuses,
                       ``slurm_submitit`` is the only module that calls submitit
``cluster_profile``    what jobs ask SLURM for, from a YAML file
``slurm_queue``        squeue, scancel and scontrol
``jobs``               the state of every launched cell; ``cancel`` ends cells, ``resubmit`` submits failed ones again
"""
