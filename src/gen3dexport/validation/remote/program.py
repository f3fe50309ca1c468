"""Programs that run on a device, for the pipeline and the measurements here; times and memory are taken there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from gen3dexport.backends import Program
from gen3dexport.backends._inputs import in_order
from gen3dexport.bundle.program import ProgramRecord
from gen3dexport.documents.target import Measure
from gen3dexport.errors import GenExportError, VerificationError
from gen3dexport.reports.records import Latency, MeasuredMemory, PeakMemory, Unmeasured
from gen3dexport.runtime.pipeline import LoadedBundle
from gen3dexport.validation.remote.session import Session
from gen3dexport.validation.timing import percentiles


@dataclass(eq=False)
class RemoteProgram:
    """A program on a device; see `backends.Program`."""

    record: ProgramRecord
    session: Session
    stand_in: str | None
    xp: ModuleType = np

    @property
    def device_name(self) -> str:
        """The device."""
        return self.session.device.device

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name."""
        _, content = self.session.ask({"do": "call", "program": self.record.name}, in_order(self.record, inputs))
        outputs, at = {}, 0
        for name, spec in self.record.outputs.items():
            size = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
            if at + size > len(content):
                raise VerificationError(f"program {self.record.name}: the device sent too few bytes for {name}")
            outputs[name] = np.frombuffer(content[at : at + size], spec.dtype).reshape(spec.shape)
            at += size
        return outputs

    def timed(self, inputs: Mapping[str, Any], measure: Measure) -> tuple[Latency, PeakMemory]:
        """Times of calls, taken on the device, and the most memory that the program needed there."""
        question = {
            "do": "time",
            "program": self.record.name,
            "warmup": measure.warmup,
            "runs": measure.runs,
            "seconds": measure.seconds,
        }
        told, _ = self.session.ask(question, in_order(self.record, inputs))
        peak: PeakMemory = Unmeasured(reason="the peak cannot be reset on this device")
        if told["peak_memory_bytes"] is not None:
            peak = MeasuredMemory(bytes=int(told["peak_memory_bytes"]), where="host")
        return percentiles([float(t) for t in told["milliseconds"]], measure.warmup, measure.threads), peak


class RemoteBundle(LoadedBundle):
    """A bundle here whose programs run on a device."""

    def on(self, session: Session, stand_in: str | None) -> RemoteBundle:
        """The same bundle with a device; `stand_in`: why times taken there are not the target's."""
        self.session, self.stand_in = session, stand_in
        return self

    def program(self, record: ProgramRecord) -> Program:
        """The program of a record, loaded on the device.

        Raises:
            MissingError: when the runner there lacks a kernel for it.
        """
        if record.name not in self.programs:
            self.session.ask({"do": "load", "program": record.name})
            self.programs[record.name] = RemoteProgram(record, self.session, self.stand_in)
        return self.programs[record.name]


def asset_times(session: Session, prompts: Sequence[str], seed: int, measure: Measure) -> Latency:
    """Times of whole assets that the runner makes on the device by the bundle's host steps, or why it makes none."""
    try:
        times = []
        for warm in (True, False):
            times = [
                float(session.ask({"do": "asset", "prompt": prompt, "seed": seed + k})[0]["milliseconds"][0])
                for k, prompt in enumerate(prompts[:1] if warm else prompts)
            ]
    except GenExportError as error:
        return Unmeasured(reason=f"the runner makes no whole assets of this bundle ({error})")
    return percentiles(times, 1, measure.threads)
