"""The memory of one model in a process of its own, above what the process held before it.

On the host: resident pages (`VmHWM`, `VmRSS` of /proc/self/status), so weights that are mapped from a file count as
far as they were read, and the compiler's own processes do not. On a GPU: bytes that the driver gave out, which are
weights, activations and what torch's allocator keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gen3dexport.validation.timing import HostPeak


class Memory:
    """Memory from creation on, in two phases: loading with the first call, and after `ready`.

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.loading = None if device == "cuda" else HostPeak()
        self.running: HostPeak | None = None
        self.before = self._on_gpu() if device == "cuda" else 0
        self.first: dict[str, Any] = {}

    def ready(self) -> None:
        """End of the first phase."""
        self.first = self.loading.read().model_dump() if self.loading else self._given_out()
        self.running = HostPeak() if self.loading else None

    def facts(self) -> dict[str, Any]:
        """`peak_memory` of both phases together, `running_memory` of the second alone; both above the start."""
        if self.loading is None:
            return {"peak_memory": self._given_out(), "running_memory": self._given_out()}
        assert self.running is not None, "facts are asked after the first call"
        running = self.running.read().model_dump()
        if running["basis"] == "measured" and self.first["basis"] == "measured":
            running["bytes"] = max(0, running["bytes"] + (self.running.start or 0) - (self.loading.start or 0))
            self.first["bytes"] = max(self.first["bytes"], running["bytes"])
        return {"peak_memory": self.first, "running_memory": running}

    def _given_out(self) -> dict[str, Any]:
        return {"basis": "measured", "bytes": max(0, self._on_gpu() - self.before), "where": "device"}

    @staticmethod
    def _on_gpu() -> int:
        import torch

        free, total = torch.cuda.mem_get_info()
        return int(total - free)


class Remembered:
    """A call and its memory: the first call ends the loading phase."""

    def __init__(self, call: Callable[[], Mapping[str, np.ndarray]], memory: Memory) -> None:
        self.call, self.memory, self.fresh = call, memory, True

    def __call__(self) -> Mapping[str, np.ndarray]:
        outputs = self.call()
        if self.fresh:
            self.memory.ready()
            self.fresh = False
        return outputs

    def facts(self) -> dict[str, Any]:
        """The memory, and what the call says of itself."""
        return {**self.memory.facts(), **(self.call.facts() if hasattr(self.call, "facts") else {})}


def warm(compiles: bool, device: str) -> None:
    """Import and start what any model here needs, so that the start of the memory's count lies after it."""
    import torch
    import torchao.quantization  # noqa: F401

    import gen3dexport.models.trellis.networks.loading  # noqa: F401

    function = torch.compile(lambda x: x @ x) if compiles else (lambda x: x @ x)
    function(torch.ones(16, 16, device=device))
