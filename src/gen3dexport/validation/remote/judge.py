"""A bundle judged on a device: what `validate` does with `--device`."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from gen3dexport.bundle import golden
from gen3dexport.bundle.manifest import Manifest
from gen3dexport.disk import scratch
from gen3dexport.documents.target import Measure
from gen3dexport.errors import UsageError
from gen3dexport.reports.records import Measurement, Unmeasured
from gen3dexport.runtime.pipeline import verified
from gen3dexport.validation.foreign import foreign
from gen3dexport.validation.measure import measure_loaded
from gen3dexport.validation.remote.adb import AdbMachine
from gen3dexport.validation.remote.address import Adb, Ssh, parse_address
from gen3dexport.validation.remote.emulator import EmulatedMachine
from gen3dexport.validation.remote.machine import Machine
from gen3dexport.validation.remote.probe import Probed, probe
from gen3dexport.validation.remote.program import RemoteBundle, asset_times
from gen3dexport.validation.remote.runner import find_runner
from gen3dexport.validation.remote.session import on_device
from gen3dexport.validation.remote.ssh import SshMachine
from gen3dexport.validation.validate import Judged, first_assets, judge

_BACKEND = "executorch"
_UNQUANTIZED = "unquantized programs are timed where the bundle lies, not on a device; validate without --device"


def machine_of(text: str) -> Machine:
    """The machine that `--device` names.

    Raises:
        UsageError: when it names none.
    """
    address = parse_address(text)
    if isinstance(address, Ssh):
        user = f"{address.user}@" if address.user else ""
        return SshMachine(address, f"ssh://{user}{address.host}" + (f":{address.port}" if address.port else ""))
    if isinstance(address, Adb):
        return AdbMachine(address, text)
    return EmulatedMachine(address, text)


def judge_on_device(folder: Path, device: str, runner: Path | None = None) -> Judged:
    """Measure a bundle on a device; nothing is written here, nothing stays there.

    Args:
        device: as `address.FORMS` says; runner: see `runner.find_runner`.

    Raises:
        UsageError: when the address, the bundle or the runner is wrong, or there is no space on the device.
        MissingError: when the device cannot be reached, or there is no runner for it.
        UnmeasuredError: when the connection was lost, or the process there was stopped.
        VerificationError: when the bundle was changed, or a program was refused or crashed.
    """
    machine = machine_of(device)
    versions: dict[str, str] = {}

    def measured(folder: Path, manifest: Manifest) -> tuple[Measurement, dict[str, Any]]:
        if (backend := manifest.target["backend"]) != _BACKEND:
            raise UsageError(
                f"{folder}: its target is of backend {backend}, and devices run {_BACKEND} programs; build "
                "the bundle with: -t executorch-arm64, or validate it without --device"
            )
        found = _probed(machine)
        own = find_runner(runner, found.machine)
        with scratch() as out, on_device(machine, found, own, folder, manifest) as session:
            checked = verified(folder, reports=False)
            stand_in = machine.emulated or foreign(manifest.target, found.machine)
            loaded = RemoteBundle(checked.folder, checked.manifest).on(session, stand_in)
            measurement = measure_loaded(loaded, out, found.device)
            pipeline = measurement.pipeline
            if pipeline.missing is None and loaded.stand_in is None:
                times = asset_times(session, pipeline.prompts, pipeline.seed, Measure(**manifest.target["measure"]))
                pipeline = pipeline.model_copy(update={"latency": times, "stages": {}})
            versions.update(session.versions)
            programs = {
                name: p.model_copy(update={"slowdown": Unmeasured(reason=_UNQUANTIZED)})
                for name, p in measurement.programs.items()
            }
            return Measurement(device=found.device, programs=programs, pipeline=pipeline), first_assets(
                out / golden.ASSETS
            )

    return judge(folder, measured=measured, runtime_versions=versions)


def _probed(machine: Machine) -> Probed:
    """What the device is; of an emulated one, the processor that is emulated."""
    found = probe(machine)
    if machine.emulated is None:
        return found
    own, name = platform.machine(), machine.name.partition(":")[2]
    return Probed(f"{name}, aarch64, emulated by QEMU on {own}", "aarch64", found.folder, found.free)
