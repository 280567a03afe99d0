"""The short form of the fuzz harness: no traceback, no hang, no silent acceptance."""

import random

import fuzz
import pytest

#: Cases of each target; those of the slow ones take about as long as those of the others.
CASES = {"command lines": 300, "recipes": 150, "cache": 500}
NAMES = (
    *("command lines", "recipes", "records", "published CSV"),
    *("listops", "wav", "idx", "cifar pickle", "pathfinder metadata", "cache"),
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, fuzz.Target]:
    return {target.name: target for target in fuzz.targets(tmp_path_factory.mktemp("fuzz"))}


def test_every_target_is_here(targets: dict[str, fuzz.Target]) -> None:
    assert tuple(targets) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_refused_with_a_sentence_or_mean_what_they_say(name: str, targets: dict[str, fuzz.Target]) -> None:
    cases = CASES.get(name, 1000)
    outcome = fuzz.fuzz(targets[name], cases)
    assert not outcome.findings
    # A target that refuses everything, or nothing, would show little.
    assert 0.02 * cases < outcome.accepted < 0.98 * cases


@pytest.mark.parametrize("fault", ["traceback", "hang", "silent", "empty sentence"])
def test_the_harness_finds_each_kind_of_fault(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Faulty:
        name = "faulty"
        refusals = (ValueError,)

        def case(self, draw: object) -> int:
            return 0

        def run(self, case: int, draw: object) -> bool:
            if fault == "traceback":
                raise KeyError(case)
            if fault == "silent":
                raise fuzz.SilentError("accepted")
            if fault == "empty sentence":
                raise ValueError
            while True:
                pass

    monkeypatch.setattr(fuzz, "SECONDS", 0.05)
    outcome = fuzz.fuzz(Faulty(), 2)
    found = {"traceback": outcome.tracebacks, "hang": outcome.hangs, "silent": outcome.silent}
    assert found.get(fault, outcome.tracebacks) == 2
    assert (outcome.cases, outcome.faults, outcome.accepted) == (2, 2, 0)
    assert len(outcome.findings) == 1
    assert "case 0" in fuzz.report([outcome], [])


def test_a_case_is_a_function_of_its_number(targets: dict[str, fuzz.Target]) -> None:
    for target in targets.values():
        one, other = (target.case(random.Random(f"0 {target.name} 7")) for _ in range(2))
        assert one == other
