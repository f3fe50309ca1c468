"""OpenMP's idle threads: what is chosen, and when nothing is."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from gen3dexport.backends._idle_threads import IdleThreads, set_openmp


@pytest.mark.parametrize(
    ("idle", "before", "imported", "after"),
    [
        ("sleep", None, False, "passive"),
        ("spin", None, False, "active"),
        ("sleep", "active", False, "active"),  # the user's word
        ("sleep", None, True, None),  # the library has read it
    ],
)
def test_the_policy_is_set_before_torch_is_imported(
    idle: IdleThreads, before: str | None, imported: bool, after: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", {} if before is None else {"OMP_WAIT_POLICY": before})
    modules = {name: module for name, module in sys.modules.items() if name != "torch"}
    monkeypatch.setattr(sys, "modules", {**modules, **({"torch": ModuleType("torch")} if imported else {})})
    set_openmp(idle)
    assert os.environ.get("OMP_WAIT_POLICY") == after
