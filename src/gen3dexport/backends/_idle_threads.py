"""What a runtime's threads do between two pieces of work: sleep, or spin, which takes their cores from whatever else
runs on the machine. benchmarks/idle_threads.py measures both."""

from __future__ import annotations

import os
import sys
from typing import Literal, TypeAlias

IdleThreads: TypeAlias = Literal["sleep", "spin"]

_POLICIES = {"sleep": "passive", "spin": "active"}


def set_openmp(idle: IdleThreads) -> None:
    """Choose for torch's OpenMP threads, where `$OMP_WAIT_POLICY` does not.

    The library reads it when torch is imported, once for the process: without effect after that.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", _POLICIES[idle])
