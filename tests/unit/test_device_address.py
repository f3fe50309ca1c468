"""Addresses of devices, what a device says of itself, and whose times are a target's; no device needed."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from gen3dexport import backends
from gen3dexport.cli.doctor import examine
from gen3dexport.documents.target import read_target
from gen3dexport.errors import MissingError, UsageError
from gen3dexport.plan import make_plan, read_recipe
from gen3dexport.validation.foreign import foreign
from gen3dexport.validation.remote import probe, runner
from gen3dexport.validation.remote.address import Adb, Emulated, Ssh, parse_address
from gen3dexport.validation.remote.judge import machine_of
from gen3dexport.validation.remote.machine import Ended, framed, unframed


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://board", Ssh("board")),
        ("ssh://pi@Board.local:2222/mnt/a%20disk", Ssh("Board.local", "pi", 2222, "/mnt/a disk")),
        ("ssh://board/", Ssh("board")),
        ("ssh://[fe80::1%eth0]:22/tmp", Ssh("fe80::1%eth0", None, 22, "/tmp")),
        ("adb", Adb()),
        ("adb:emulator-5554", Adb("emulator-5554")),
        ("adb:192.168.0.3:5555", Adb("192.168.0.3:5555")),
        ("qemu:cortex-a76", Emulated("cortex-a76")),
        ("qemu:max,sme=off", Emulated("max,sme=off")),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "board", "ssh://", "ssh:board", "ssh://-oProxyCommand=x", "ssh://-l@board", "ssh://a b", "ssh://board:0",
     "ssh://board:99999", "ssh://board:x", "ssh://b/?q", "ssh://b/%0a", "ssh://;rm@board", "adb:", "adb:-s", "adb:a b",
     "qemu:", "qemu:-x", "http://board"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="--device"):
        parse_address(text)


def test_a_password_is_not_told_again() -> None:
    with pytest.raises(UsageError, match="a key, no password") as told:
        parse_address("ssh://me:secret@board")
    assert "secret" not in str(told.value)


def test_qemu_s_wrong_products_are_refused() -> None:
    with pytest.raises(UsageError, match="cortex-a76"):
        parse_address("qemu:max")


def test_the_name_of_a_machine_has_no_folder() -> None:
    assert machine_of("ssh://pi@board:22/mnt/x").name == "ssh://pi@board:22"


def test_a_shell_that_greets() -> None:
    assert unframed("welcome\ngen3dexport-begun\nout\r\ngen3dexport-ended:3\n") == Ended(3, "out\n")
    assert unframed("welcome\ngen3dexport-begun\nout\n") is None
    assert unframed("gen3dexport-ended:0\n") is None
    assert framed("true").startswith("echo gen3dexport-begun")


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["model name\t: AMD EPYC", "model name\t: AMD EPYC"], "AMD EPYC"),
        (["CPU implementer : 0x41", "CPU part\t: 0xd0b"], "Cortex-A76"),
        (
            ["CPU implementer : 0x41", "CPU part : 0xd05", "CPU part : 0xd0b", "CPU part : 0xd05"],
            "Cortex-A55/Cortex-A76",
        ),
        (["CPU implementer : 0x61", "CPU part : 0x022"], "part 0x022"),
        ([], ""),
    ],
)
def test_processors(lines: list[str], name: str) -> None:
    assert probe.processor(lines) == name


def test_architectures(tmp_path: Path) -> None:
    own = Path("/proc/self/exe").resolve()
    assert runner.elf_machine(own) == runner.machine_name(platform.machine())
    assert runner.machine_name("arm64") == "aarch64"
    (tmp_path / "script").write_text("#!/bin/sh\necho a longer text\n")
    (tmp_path / "short").write_bytes(b"\x7fELF")
    assert runner.elf_machine(tmp_path / "script") is None and runner.elf_machine(tmp_path / "short") is None


def test_without_a_runner_the_way_to_one_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path))
    with pytest.raises(MissingError, match="arm64_runner"):
        runner.find_runner(None, "aarch64")


def test_a_loader_of_its_own_starts_it(tmp_path: Path) -> None:
    for name in ("bin/gen3d", "lib/ld-linux-aarch64.so.1", "lib/libc.so.6", "share/more"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x7fELF" + bytes(14) + (0xB7).to_bytes(2, "little"))
    found = runner.find_runner(tmp_path / "bin/gen3d", "aarch64")
    assert set(found.files) == {"bin/gen3d", "lib/ld-linux-aarch64.so.1", "lib/libc.so.6"}
    assert found.words("/x") == ("/x/lib/ld-linux-aarch64.so.1", "--library-path", "/x/lib", "/x/bin/gen3d")


def test_only_arm64_gives_times_of_its_target() -> None:
    target = read_target("executorch-arm64").model_dump()
    for machine in ("aarch64", "arm64"):
        assert foreign(target, machine) is None
    reason = foreign(target, "x86_64")
    assert reason is not None and "x86_64" in reason and "--device ssh://HOST" in reason
    assert foreign(read_target("executorch").model_dump(), "riscv64") is None


def test_doctor_says_that_no_such_machine_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends.find("executorch"), "check", lambda options: [])
    for machine, absent in (("aarch64", None), ("x86_64", "no aarch64 CPU")):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        assert examine("executorch-arm64")["targets"][0]["absent"] == absent
        assert examine("executorch")["targets"][0]["absent"] is None


def test_its_programs_are_executorch_s() -> None:
    """A recipe decides the same for both targets, what it says of `executorch` alone among it."""
    for name in ("trellis-mini", "trellis-mini-color", "triposr"):
        first, second = (
            make_plan(read_recipe(name, target), target) for target in map(read_target, ("executorch", "arm64"))
        )
        assert first.schemes == second.schemes and first.target.options == second.target.options
        assert first.recipe.model_dump(exclude={"targets"}) == second.recipe.model_dump(exclude={"targets"})
