"""What sbatch refuses is a sentence with the remedy. The messages are those of SLURM 22 to 24."""

import pytest
from ssm_bench.launch.slurm_refusals import explain_refusal

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            f"{FAILED}Invalid generic resource (gres) specification",
            "set `gpus: 0` in the profile, or use --slurm local",
        ),
        (f"{FAILED}Requested GRES option unsupported by configured SelectType plugin", "`gpus: 0`"),
        (f"sbatch: error: invalid partition specified: x\n{FAILED}Invalid partition name specified", "`sinfo -s`"),
        (f"{FAILED}Invalid account or account/partition combination specified", "`account` in the profile"),
        (f"{FAILED}User's group not permitted to use this partition", "may not use this partition"),
        (f"{FAILED}Access/permission denied", "may not use this partition"),
        (f"{FAILED}Invalid qos specification", "Set `qos` in the profile"),
        (f"{FAILED}Requested time limit is invalid (missing or exceeds some limit)", "Lower `time` in the profile"),
        ("sbatch: error: Invalid --time specification", "`time` in the profile"),
        (f"{FAILED}Invalid feature specification", "Set `constraint` in the profile"),
        (f"{FAILED}Requested node configuration is not available", "lower `cpus`, `memory`, `gpus`"),
        (f"{FAILED}Memory specification can not be satisfied", "lower `cpus`, `memory`, `gpus`"),
        (f"{FAILED}Invalid job array specification", "Lower `array_limit` in the profile"),
        (
            f"{FAILED}Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "submit fewer cells at a time",
        ),
        (f"sbatch: error: AssocMaxSubmitJobLimit\n{FAILED}Job violates accounting/QOS policy", "fewer cells at a time"),
        (f"{FAILED}Invalid node name specified", "`exclude` or `nodelist`"),
        (f"{FAILED}Requested reservation is invalid", "Set `reservation` under `sbatch`"),
        ("sbatch: unrecognized option '--wat'\nTry \"sbatch --help\" for more information", "Correct that option"),
        (f"{FAILED}Unable to contact slurm controller (connect failure)", "try again later"),
        (f"{FAILED}Socket timed out on send/recv operation", "try again later"),
    ],
)
def test_each_refusal_has_its_remedy(message: str, remedy: str) -> None:
    said = explain_refusal(message, "slurm/mine.yaml")
    assert remedy in said
    assert message.splitlines()[-1].removeprefix("sbatch: error: ").removeprefix("sbatch: ") in said
    assert "slurm/mine.yaml" in said
    assert "\n" not in said
    assert "sbatch: error" not in said


def test_what_is_not_known_is_said_as_it_is() -> None:
    assert explain_refusal("sbatch: error: The moon is full.\n", "x") == "SLURM refused the jobs: The moon is full."
