"""`validate --device`: over a real ssh server, over the real adb client, and what goes wrong on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("executorch", reason="needs the extra: pip install 'gen3dexport[executorch]'")
if not (shutil.which("cmake") and shutil.which("g++")):
    pytest.skip("needs cmake and g++ (Debian: apt-get install cmake g++ clang)", allow_module_level=True)

import adb_device
import sshd
import tiny_text

from gen3dexport.bundle.manifest import Manifest, read_manifest
from gen3dexport.documents.target import Measure
from gen3dexport.errors import GenExportError, MissingError, UnmeasuredError, UsageError
from gen3dexport.reports.records import MeasuredMemory, MeasuredTimes, Unmeasured
from gen3dexport.validation.remote.address import Ssh
from gen3dexport.validation.remote.judge import judge_on_device, machine_of
from gen3dexport.validation.remote.probe import Probed, probe
from gen3dexport.validation.remote.program import asset_times
from gen3dexport.validation.remote.runner import find_runner
from gen3dexport.validation.remote.session import on_device
from gen3dexport.validation.remote.ssh import SshMachine
from gen3dexport.validation.validate import judge

ssh_server = pytest.mark.skipif(
    sshd.SSHD is None or shutil.which("ssh") is None,
    reason="needs sshd and ssh (Debian: apt-get install openssh-server)",
)
adb_client = pytest.mark.skipif(shutil.which("adb") is None, reason="needs adb (Debian: apt-get install adb)")


@pytest.fixture(scope="module")
def runner(plain: Path) -> Path:
    """What is copied to this machine, as to a device."""
    return plain.parent / "out"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The folder that the device has for temporary ones; nothing may be left there."""
    (tmp_path / "a device's").mkdir()
    return tmp_path / "a device's"


@pytest.fixture
def server(tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[sshd.Server]:
    with sshd.running(tmp_path / "sshd") as found:
        monkeypatch.setenv("PATH", f"{found.bin}:{os.environ['PATH']}")
        monkeypatch.setenv("TMPDIR", str(place))  # which the client sends
        yield found
    assert not any(place.iterdir())


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[adb_device.Devices]:
    with adb_device.serving(tmp_path / "tmp") as found:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(found.port))
        yield found
    assert not any(found.folder.iterdir())


def _validate(bundle: Path, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gen3dexport", "validate", str(bundle), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, timeout=300)


@ssh_server
def test_over_ssh(features_bundle: Path, runner: Path, server: sshd.Server, place: Path, tmp_path: Path) -> None:
    """Programs run in the other process, numerics are those of a run here, times and memory come back."""
    done = _validate(features_bundle, "--device", server.address, "--runner", runner, "-o", tmp_path / "out", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    here = judge(features_bundle).report
    assert report["device"].endswith(", ssh") and os.uname().machine in report["device"]
    assert report["versions"]["gen3d"] == "0.1.0" and report["verdict"] == "pass"
    for found, own in zip(report["components"], here.components, strict=True):
        for reference in ("fp32", "quantized"):
            expected = own.errors.against(reference)  # equal outputs, but for the order of a sum of their squares
            assert {name: error["max_abs"] for name, error in found["errors"][reference].items()} == {
                name: error.max_abs for name, error in expected.items()
            }
        assert found["latency"]["basis"] == "measured" and found["latency"]["runs"] == 20
        assert found["latency"]["min_ms"] > 0 and found["peak_memory"]["bytes"] > 0
    assert [q["scores"] for q in report["pipeline"]["quality"]] == [
        json.loads(q.model_dump_json())["scores"] for q in here.pipeline.quality
    ]
    assert "features" in report["pipeline"]["latency"]["reason"]  # no prompt makes an asset of it
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == report


@ssh_server
def test_whole_assets_are_timed_there(text_bundle: Path, runner: Path, server: sshd.Server) -> None:
    data = json.loads((text_bundle / "manifest.json").read_text())
    manifest = cast(Manifest, SimpleNamespace(files=data["files"], target=data["target"]))
    machine = machine_of(server.address)
    found = probe(machine)
    with on_device(machine, found, find_runner(runner, found.machine), text_bundle, manifest) as session:
        times = asset_times(session, ["a chair", "chairs"], 7, Measure())
        with pytest.raises(UsageError, match="none of that name"):
            session.ask({"do": "load", "program": "nothing"})
        assert session.ask({"do": "load", "program": "flow"})[0] == {"bytes": 0}  # it goes on
    assert isinstance(times, MeasuredTimes) and times.runs == 2


@ssh_server
def test_only_its_own_architecture_gives_times(
    features_bundle: Path, runner: Path, server: sshd.Server, tmp_path: Path
) -> None:
    """A bundle for another architecture: numbers on this one, and no times."""
    other = "aarch64" if os.uname().machine == "x86_64" else "x86_64"
    bundle = Path(shutil.copytree(features_bundle, tmp_path / "bundle"))
    tiny_text.change(bundle, lambda data: data["target"].update(machine=other))
    for report in (judge(bundle).report, judge_on_device(bundle, server.address, runner).report):
        assert report.components[0].errors.worst("fp32") is not None and report.pipeline.quality
        unknown = (*(c.latency for c in report.components), *(c.peak_memory for c in report.components))
        for value in (*unknown, report.pipeline.latency):
            assert isinstance(value, Unmeasured) and "for its numbers only" in value.reason
            assert "--device" in value.reason
        assert report.verdict == "pass"


@adb_client
def test_over_adb(features_bundle: Path, runner: Path, devices: adb_device.Devices) -> None:
    report = judge_on_device(features_bundle, "adb", runner).report
    assert report.device.startswith("Stand-in Phone 7, ") and report.device.endswith(", adb")
    assert report.verdict == "pass"
    assert all(isinstance(c.latency, MeasuredTimes) for c in report.components)
    assert all(isinstance(c.peak_memory, MeasuredMemory) for c in report.components)
    assert "sync:" in devices.seen


@adb_client
@pytest.mark.parametrize(
    ("states", "device", "said"),
    [
        ({}, "adb", "no devices"),
        ({"one": "device", "two": "device"}, "adb", "adb:SERIAL"),
        ({"one": "unauthorized"}, "adb", "allow this computer"),
        ({"one": "offline"}, "adb:one", "connect it again"),
        ({"one": "device"}, "adb:other", "not found"),
    ],
)
def test_devices_that_adb_does_not_reach(
    states: dict[str, str], device: str, said: str, features_bundle: Path, runner: Path, devices: adb_device.Devices
) -> None:
    devices.states = states
    with pytest.raises(MissingError, match=said):
        judge_on_device(features_bundle, device, runner)


@adb_client
def test_a_full_phone(features_bundle: Path, runner: Path, devices: adb_device.Devices) -> None:
    devices.full = True
    with pytest.raises(UsageError, match="no space left there"):
        judge_on_device(features_bundle, "adb", runner)


@adb_client
def test_one_of_two_phones(features_bundle: Path, runner: Path, devices: adb_device.Devices) -> None:
    devices.states = {"one": "device", "two": "unauthorized"}
    assert judge_on_device(features_bundle, "adb:one", runner).report.verdict == "pass"


def test_without_adb(features_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for device, package in (("adb", "adb"), ("ssh://host", "openssh-client"), ("qemu:cortex-a76", "qemu-user-static")):
        with pytest.raises((MissingError, FileNotFoundError), match=package if "qemu" not in device else "sh|qemu"):
            judge_on_device(features_bundle, device)


@ssh_server
def test_keys_that_do_not_fit(features_bundle: Path, runner: Path, server: sshd.Server) -> None:
    known = server.folder / "known"
    text = known.read_text()
    known.write_text("")
    with pytest.raises(MissingError, match="accept its key"):
        judge_on_device(features_bundle, server.address, runner)
    known.write_text(text)
    server.forget_key()
    done = _validate(features_bundle, "--device", server.address, "--runner", runner)
    assert done.returncode == 3 and "ssh-copy-id" in done.stderr and "Permission denied" in done.stderr
    with pytest.raises(MissingError, match="check the port"):
        judge_on_device(features_bundle, "ssh://127.0.0.1:1", runner)


@ssh_server
def test_runners_that_do_not_fit(features_bundle: Path, runner: Path, server: sshd.Server, tmp_path: Path) -> None:
    other = Path(shutil.copytree(runner, tmp_path / "other"))
    tool = other / "bin" / "gen3d"
    content = bytearray(tool.read_bytes())
    content[18:20] = (0xF3).to_bytes(2, "little")  # RISC-V
    tool.write_bytes(content)
    with pytest.raises(UsageError, match="is for riscv64, and the device is"):
        judge_on_device(features_bundle, server.address, other)
    tool.write_bytes(bytes(runner.joinpath("bin/gen3d").read_bytes()[:4000]))  # of this machine, and no program
    with pytest.raises(GenExportError):
        judge_on_device(features_bundle, server.address, other)
    tool.write_text("#!/bin/sh\n")
    with pytest.raises(UsageError, match="no ELF file"):
        judge_on_device(features_bundle, server.address, tool)
    with pytest.raises(UsageError, match="cmake --install"):
        judge_on_device(features_bundle, server.address, tmp_path)
    with pytest.raises(MissingError, match="no runner for"):
        judge_on_device(features_bundle, server.address)
    with pytest.raises(UsageError, match="is no folder there"):
        judge_on_device(features_bundle, f"{server.address}/nowhere", runner)


@ssh_server
def test_a_full_disk(features_bundle: Path, runner: Path, server: sshd.Server, tmp_path: Path) -> None:
    """Both ways to meet it: the machine says how much is free, or files end in the midst."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        with pytest.raises(UsageError, match="1 MB free"):
            judge_on_device(features_bundle, f"{server.address}{small}", runner)
        machine = machine_of(f"{server.address}{small}")
        found = probe(machine)
        silent = Probed(found.device, found.machine, found.folder, None)
        with (
            pytest.raises(UsageError, match="No space left on device"),
            on_device(
                machine, silent, find_runner(runner, found.machine), features_bundle, read_manifest(features_bundle)
            ),
        ):
            raise AssertionError("it fits")
        assert not any(small.iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def _when_it_runs(place: Path, act: Any) -> threading.Thread:
    """Do something with the number of the runner's process on the device, as soon as it runs."""

    def wait() -> None:
        for _ in range(3000):
            for file in place.glob("gen3dexport-*/process"):
                if (number := file.read_text().strip()) and Path(f"/proc/{number}/exe").resolve().name == "gen3d":
                    time.sleep(0.2)
                    act(int(number))
                    return
            time.sleep(0.01)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def _slow(bundle: Path, place: Path) -> Path:
    """The same bundle, measured long enough to be met in the midst."""
    copy = Path(shutil.copytree(bundle, place))
    tiny_text.change(copy, lambda data: data["target"]["measure"].update(runs=10**6, seconds=1000.0))
    return copy


@ssh_server
def test_a_killed_process_there(
    features_bundle: Path, runner: Path, server: sshd.Server, place: Path, tmp_path: Path
) -> None:
    bundle = _slow(features_bundle, tmp_path / "bundle")
    thread = _when_it_runs(place, lambda number: os.kill(number, signal.SIGKILL))
    with pytest.raises(UnmeasuredError, match="killed by SIGKILL, most likely by the system because memory ran out"):
        judge_on_device(bundle, server.address, runner)
    thread.join()
    assert not (bundle / "report.json").exists()


@ssh_server
def test_stopped_here(features_bundle: Path, runner: Path, server: sshd.Server, place: Path, tmp_path: Path) -> None:
    """Ctrl-C ends the process on the device too, and takes the folder away."""
    bundle = _slow(features_bundle, tmp_path / "bundle")
    command = [sys.executable, "-m", "gen3dexport", "validate", str(bundle), "--device", server.address]
    process = subprocess.Popen([*command, "--runner", str(runner)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    numbers: list[int] = []
    _when_it_runs(place, numbers.append).join()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130 and numbers
    assert not Path(f"/proc/{numbers[0]}").exists()
    assert not (bundle / "report.json").exists()


@ssh_server
def test_names_with_spaces_and_quotes(features_bundle: Path, runner: Path, server: sshd.Server, tmp_path: Path) -> None:
    folder = tmp_path / "a 'b' $(touch hacked); \"c\""
    folder.mkdir()
    machine = SshMachine(Ssh("127.0.0.1", None, int(server.address.rpartition(":")[2]), str(folder)), "here")
    found = probe(machine)
    with on_device(
        machine, found, find_runner(runner, found.machine), features_bundle, read_manifest(features_bundle)
    ) as s:
        assert s.versions["gen3d"] == "0.1.0"
    assert not any(folder.iterdir()) and not list(Path.home().glob("hacked"))


@ssh_server
def test_other_backends_are_told(features_bundle: Path, runner: Path, server: sshd.Server, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(features_bundle, tmp_path / "bundle"))
    options: Mapping[str, Any] = {}
    tiny_text.change(bundle, lambda data: data["target"].update(backend="eager", options=options))
    with pytest.raises(UsageError, match="executorch-arm64"):
        judge_on_device(bundle, server.address, runner)


@pytest.mark.skipif(
    "GEN3DEXPORT_ARM64_RUNNER" not in os.environ or not shutil.which("qemu-aarch64-static"),
    reason="needs qemu-user-static and GEN3DEXPORT_ARM64_RUNNER, a runner that embed/cpp/tools/arm64_runner.sh made",
)
def test_an_emulated_processor(features_bundle: Path) -> None:
    """ARM64's numbers meet the same gates; times of an emulator are none."""
    report = judge_on_device(features_bundle, "qemu:cortex-a76", Path(os.environ["GEN3DEXPORT_ARM64_RUNNER"])).report
    assert report.device.startswith("cortex-a76, aarch64, emulated") and report.verdict == "pass"
    assert all(isinstance(c.latency, Unmeasured) and "emulated" in c.latency.reason for c in report.components)
