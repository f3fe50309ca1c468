"""The runner that is copied to a device: `gen3d` of embed/cpp, its libraries, and where it has one its loader."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gen3dexport.documents.caches import cache_folder
from gen3dexport.errors import MissingError, UsageError

TOOL = "bin/gen3d"
MACHINES: Mapping[int, str] = {0x3E: "x86_64", 0xB7: "aarch64", 0x28: "arm", 0x03: "x86", 0xF3: "riscv64"}
"""Machine numbers of ELF files (the ELF specification's e_machine)."""
_OTHER_NAMES = {"arm64": "aarch64", "amd64": "x86_64", "armv7l": "arm", "armv8l": "arm", "i686": "x86"}
_HEADER = struct.Struct("<4s14xH")  # magic, then e_machine at byte 18


def machine_name(uname: str) -> str:
    """An architecture by its one name, of what `uname -m` or Python's `platform` says."""
    return _OTHER_NAMES.get(uname.lower(), uname)


@dataclass(frozen=True)
class Runner:
    """A runner here.

    Attributes:
        machine: architecture of its programs.
        files: name below the runner's folder -> file here.
        loader: the name of the loader among them, which is for its own C library; None to take the device's.
    """

    machine: str
    files: Mapping[str, Path]
    loader: str | None

    def words(self, folder: str) -> tuple[str, ...]:
        """What starts it when its files lie in a folder."""
        own = (f"{folder}/{self.loader}", "--library-path", f"{folder}/lib") if self.loader else ()
        return *own, f"{folder}/{TOOL}"


def find_runner(given: Path | None, machine: str) -> Runner:
    """The runner for a machine: what the user named, or the one in the cache.

    Args:
        given: the folder that `cmake --install` made, or the tool in it.

    Raises:
        MissingError: when there is none, with how to build it.
        UsageError: when it is no runner, or another machine's.
    """
    place = given if given is not None else cache_folder("runners") / machine
    if given is None and not (place / TOOL).is_file():
        script = f"embed/cpp/tools/arm64_runner.sh WHEEL {place}" if machine == "aarch64" else "docs/devices.md"
        raise MissingError(f"no runner for {machine} in {place}; build it with {script}, or name one with --runner")
    root = place.absolute()
    if root.is_file():
        root = root.parent.parent
    tool = root / TOOL
    if not tool.is_file():
        raise UsageError(f"--runner {place}: no {TOOL} there; give the folder that `cmake --install` of embed/cpp made")
    found = elf_machine(tool)
    if found is None:
        raise UsageError(f"{tool}: no program for Linux (no ELF file); build embed/cpp for {machine}")
    if found != machine:
        raise UsageError(
            f"{tool}: is for {found}, and the device is {machine}; name a runner for {machine} with --runner"
        )
    libraries = sorted(file for file in (root / "lib").rglob("*") if file.is_file() and ".so" in file.name)
    files = {str(file.relative_to(root)): file for file in (tool, *libraries)}
    loader = next((name for name in files if Path(name).name.startswith("ld-linux-")), None)
    return Runner(found, files, loader)


def elf_machine(file: Path) -> str | None:
    """The architecture of an ELF file; None for another file."""
    with file.open("rb") as stream:
        head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        return None
    magic, number = _HEADER.unpack(head)
    return MACHINES.get(number, f"machine {number}") if magic == b"\x7fELF" else None
