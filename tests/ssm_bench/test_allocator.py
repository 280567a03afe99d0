"""Memory that a process frees stays with it. The setting affects a whole process, so the test uses a new one."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from ssm_bench.allocator import keep_freed_memory
keep_freed_memory()
for i in range(40):
    if i == 36:  # by now the heap has found its size
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**23)  # 32 MiB, 8,192 pages
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's allocator")
def test_freed_memory_serves_the_next_tensor() -> None:
    words = [sys.executable, "-c", PROGRAM]
    assert int(subprocess.run(words, check=True, capture_output=True, text=True).stdout) < 1000
