"""What a device is: its name, architecture, kernel, cores, and the free space of the folder that is used there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gen3dexport.errors import MissingError, UsageError
from gen3dexport.validation.remote.machine import Machine
from gen3dexport.validation.remote.runner import machine_name

# Names of ARM's cores by their number in /proc/cpuinfo's "CPU part", implementer 0x41. Source: Arm's reference manuals
# of each core, field PartNum of MIDR_EL1.
_ARM_CORES = {
    "0xd03": "Cortex-A53", "0xd04": "Cortex-A35", "0xd05": "Cortex-A55", "0xd07": "Cortex-A57", "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73", "0xd0a": "Cortex-A75", "0xd0b": "Cortex-A76", "0xd0c": "Neoverse-N1", "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1", "0xd41": "Cortex-A78", "0xd44": "Cortex-X1", "0xd46": "Cortex-A510", "0xd47": "Cortex-A710",
    "0xd48": "Cortex-X2", "0xd49": "Neoverse-N2", "0xd4d": "Cortex-A715", "0xd4e": "Cortex-X3", "0xd4f": "Neoverse-V2",
}  # fmt: skip
_SCRIPT = """\
parent={parent}
echo "folder=$parent"
if [ ! -d "$parent" ]; then echo "state=is no folder there"
elif [ ! -w "$parent" ]; then echo "state=cannot be written there"
else echo "state=good"; fi
echo "system=$(uname -s)"; echo "machine=$(uname -m)"; echo "kernel=$(uname -r)"
echo "cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || nproc 2>/dev/null)"
echo "board=$(tr -d '\\000' </proc/device-tree/model 2>/dev/null)"
echo "phone=$(getprop ro.product.manufacturer 2>/dev/null) $(getprop ro.product.model 2>/dev/null)"
set -- $(df -Pk "$parent" 2>/dev/null | tail -n 1); echo "free=$4"
sed 's/^/cpu=/' /proc/cpuinfo 2>/dev/null
true"""


@dataclass(frozen=True)
class Probed:
    """A device as it is found.

    Attributes:
        device: its name for the report; machine: its architecture; folder: where the temporary folder is made; free:
            bytes there, None where it does not say.
    """

    device: str
    machine: str
    folder: str
    free: int | None


def probe(machine: Machine) -> Probed:
    """Ask a device what it is.

    Raises:
        MissingError: when it cannot be reached, or does not say.
        UsageError: when its folder cannot be used.
    """
    said = machine.shell(_SCRIPT.format(parent=machine.parent)).said
    fields: dict[str, str] = {}
    cpu: list[str] = []
    for line in said.splitlines():
        key, _, value = line.partition("=")
        cpu += [value] if key == "cpu" else []
        fields.setdefault(key, value.strip())
    if not fields.get("machine"):
        raise MissingError(f"{machine.name}: does not say what it is (no `uname` in its shell)")
    if fields["system"] != "Linux":
        raise UsageError(f"{machine.name}: runs {fields['system']}, and the runner is for Linux and Android")
    if (state := fields.get("state")) != "good":
        raise UsageError(f"{machine.name}: {fields.get('folder')} {state}; name a folder that can be written")
    free = fields.get("free", "")
    architecture = machine_name(fields["machine"])
    kernel = f"{fields['system']} {fields['kernel']}"
    return Probed(
        device=", ".join(part for part in (*_hardware(fields, cpu), architecture, kernel, machine.kind) if part),
        machine=architecture,
        folder=fields["folder"].rstrip("/"),
        free=1024 * int(free) if free.isdigit() else None,
    )


def _hardware(fields: Mapping[str, str], cpu: list[str]) -> list[str]:
    """What it is called, its processor, its cores."""
    name = fields.get("phone", "").strip() or fields.get("board", "")
    cores = fields.get("cores", "")
    return [name, processor(cpu), f"{cores} cores" if cores.isdigit() and cores != "1" else ""]


def processor(cpu: list[str]) -> str:
    """The processor's name in the lines of /proc/cpuinfo; of ARM's, every kind of core that is there."""
    pairs = [re.split(r"\s*:\s*", line, maxsplit=1) for line in cpu if ":" in line]
    if name := next((value for key, value in pairs if key == "model name" and value), ""):
        return name.strip()
    parts = dict.fromkeys(value.strip() for key, value in pairs if key == "CPU part")
    arm = any(key == "CPU implementer" and value.strip() == "0x41" for key, value in pairs)
    return "/".join(_ARM_CORES.get(part, f"part {part}") if arm else f"part {part}" for part in parts)
