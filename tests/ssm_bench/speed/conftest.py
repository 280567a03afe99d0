"""Settings for every test of this folder."""

import pytest
from ssm_testing.problems import do_not_wait


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    do_not_wait(monkeypatch)
