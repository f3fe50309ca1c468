"""Whether times taken on a machine are those of a target: some targets are one architecture's alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ONE_NAME = {"arm64": "aarch64", "amd64": "x86_64"}


def foreign(target: Mapping[str, Any], machine: str) -> str | None:
    """Why a machine of that architecture measures no times of a target, or None where it does.

    Args:
        target: as a manifest has it; machine: as `uname -m` or Python's `platform` names it.
    """
    wanted, own = target.get("machine"), _ONE_NAME.get(machine.lower(), machine)
    if wanted is None or wanted == own:
        return None
    return (
        f"ran on {own} for its numbers only, and {target['name']} is for {wanted}; measure on such a device: "
        "gen3dexport validate BUNDLE --device ssh://HOST (or adb)"
    )
