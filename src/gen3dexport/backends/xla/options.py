"""Options of a TPU target."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from gen3dexport.backends.xla.chips import ChipName


class Options(BaseModel):
    """Options of a TPU target.

    Attributes:
        chip: the TPU generation that is compiled for and estimated.
        matmul_precision: of float32 products: `highest` keeps float32 accuracy at six times the cost of `default`,
            which rounds operands to bfloat16; bfloat16 and int8 products are not affected.
        pallas: make the twin with kernels.
        attention_min_keys: attentions over at least so many keys take the kernel in the twin.
        min_features: the int8 schemes leave linear layers with fewer inputs as they are.
        rest: what the repeated blocks compute in beside their int8 linears, where the network has such a form. Float32
            there costs six passes of the matrix unit in attention, which is more than int8 wins.
        compile: compile for the chip (memory, second estimate); without it only the roofline is there.
        compile_timeout_s: for one compile; after it the compiler is asked for its least effort.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    chip: ChipName = "v5e"
    matmul_precision: Literal["highest", "high", "default"] = "highest"
    pallas: bool = True
    attention_min_keys: int = Field(default=128, ge=1)
    min_features: int = Field(default=128, ge=1)
    rest: Literal["fp32", "bf16"] = "bf16"
    compile: bool = True
    compile_timeout_s: float = Field(default=300, gt=0)
