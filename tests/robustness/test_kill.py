"""The short form of the kill harness: runs that are killed at random moments end as if nothing had happened."""

from pathlib import Path

import kill
import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="needs /proc to find the processes of a run"
)
KILLS = 10


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> kill.Harness:
    return kill.Harness(tmp_path_factory.mktemp("kill") / "work", print)


@pytest.mark.parametrize("scenario", kill.SHORT, ids=lambda scenario: scenario.name.replace(" ", ","))
def test_killed_runs_equal_undisturbed_ones(scenario: kill.Scenario, harness: kill.Harness) -> None:
    result = harness.kill(scenario, KILLS, seed=0)
    assert not result.findings
    assert result.kills == KILLS
    assert result.phases["start-up"] < KILLS / 2
