"""Settings for every test: one thread and no user's caches."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_data_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Prepared data goes to a cache of the test run, and child processes inherit it."""
    os.environ["SSM_DATA_CACHE"] = str(tmp_path_factory.mktemp("data-cache"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
