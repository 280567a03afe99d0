"""What a user can do about a job that sbatch refuses. The messages of sbatch name the fault, but seldom the remedy."""

from __future__ import annotations

import re

#: A pattern of sbatch's message, in lower case, and the remedy. The first pattern that matches counts.
_REMEDIES = (
    (
        r"\bgres\b|generic resource",
        "This cluster has no such GPUs. If it has none, set `gpus: 0` in the profile, or use --slurm local on the "
        "cluster of slurm/local-cluster; if it has others, set `gpu` to a type that `sinfo -o %G` lists",
    ),
    (
        r"accounting/qos policy|submit limit|assocmax|maxsubmit",
        "You have as many jobs as the cluster allows, or ask for more than it allows: submit fewer cells at a time, or "
        "wait until some are done",
    ),
    (r"invalid partition|partition name", "Set `partition` in the profile to one that `sinfo -s` lists"),
    (
        r"invalid account|account/partition",
        "Set `account` in the profile to one that `sacctmgr show associations user=$USER format=account,partition` "
        "lists, and `partition` to one of that account",
    ),
    (
        r"group not permitted|permission denied|not permitted to use",
        "Your account may not use this partition; set `partition` or `account` in the profile to others",
    ),
    (r"invalid qos", "Set `qos` in the profile to one that `sacctmgr show qos format=name` lists"),
    (
        r"time limit|--time\b|invalid time",
        "Lower `time` in the profile to what `sinfo -o '%P %l'` allows in the partition, or set it if the partition "
        "needs one",
    ),
    (
        r"invalid feature|constraint",
        "Set `constraint` in the profile to features that `sinfo -o %f` lists",
    ),
    (
        r"node configuration is not available|more processors requested|memory specification|node count",
        "No node has so much: lower `cpus`, `memory`, `gpus` or devices=... to what `sinfo -o '%N %c %m %G'` lists",
    ),
    (
        r"job array|array index|array specification",
        "Lower `array_limit` in the profile to less than the MaxArraySize that `scontrol show config` prints",
    ),
    (
        r"invalid node name|node name",
        "Set `exclude` or `nodelist` under `sbatch` in the profile to nodes of this cluster",
    ),
    (r"reservation", "Set `reservation` under `sbatch` in the profile to one that `scontrol show reservation` lists"),
    (r"unrecognized option|invalid option|unknown option", "Correct that option under `sbatch` in the profile"),
    (r"contact slurm|connect|timed out|communication", "The cluster does not answer now; try again later"),
)


def explain_refusal(message: str, profile: str) -> str:
    """Return a sentence with sbatch's message and the remedy.

    Args:
        message: what sbatch printed.
        profile: the file of the cluster profile.
    """
    said = " ".join(
        re.sub(r"^sbatch: (error: )?", "", line.strip()) for line in message.splitlines() if line.strip()
    ).rstrip(".")
    remedy = next((remedy for pattern, remedy in _REMEDIES if re.search(pattern, said.lower())), "")
    return f"SLURM refused the jobs: {said}. {remedy} ({profile})." if remedy else f"SLURM refused the jobs: {said}."
