"""Networks of the transformers library as parts of this package's: read strictly from a local folder, never downloaded.

Blocks keep the library's modules and names; `half_precision` says how their norms compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gen3dexport.errors import UsageError
from gen3dexport.networks.checkpoints import extra_prefix, read_weights, strip

MASKED = -3e4
"""Added to a score that must not count: finite in half precision, so that no row becomes NaN; its exponential is 0."""


def read_pretrained(
    model: Any,
    config: Any,
    folder: Path,
    unused: tuple[str, ...] = (),
    allow_pickle: bool = False,
    strip_prefix: str = "",
) -> nn.Module:
    """A model of the transformers library with the weights of `folder`/model.safetensors, in float32.

    Args:
        model: its class; config: what it is built by.
        unused: beginnings of the names of tensors that may be left over (other halves of a released file).
        allow_pickle, strip_prefix: see `read_weights`.

    Raises:
        UsageError: when the file is missing or damaged, or lacks a weight, has another one or one of another shape.
    """
    path = folder / "model.safetensors"
    state = read_weights(path, allow_pickle, strip_prefix)
    # The library takes no tensors without values, and no other device: one zero stands for all of a tensor's values.
    held = {
        k: torch.zeros((), dtype=v.dtype, device="cpu").expand(v.shape) if v.is_meta else v for k, v in state.items()
    }
    try:
        with _quiet(), torch.device("cpu"):
            made, found = model.from_pretrained(
                None,
                config=config,
                state_dict=held,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported below, with all the rest
            )
    except Exception as error:  # transformers raises many types on weights that do not fit; the cause is kept
        raise UsageError(f"{path}: transformers cannot read it ({error}); copy it again") from error
    problems = [f"missing {key}" for key in found["missing_keys"]]
    problems += [f"unexpected {key}" for key in found["unexpected_keys"] if not key.startswith(unused or ("\0",))]
    problems += [f"{key[0] if isinstance(key, tuple) else key} has another shape" for key in found["mismatched_keys"]]
    if problems:
        if prefix := extra_prefix(state, made.state_dict()):
            raise UsageError(f"{path}: {strip(prefix)}")
        shown = "; ".join(sorted(problems)[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise UsageError(f"{path}: does not fit its config.json: {shown}; copy both again")
    return made.eval().requires_grad_(False)  # type: ignore[no-any-return]


def random_pretrained(model: Any, config: Any, seed: int = 0) -> nn.Module:
    """A model of the transformers library with seeded random weights: for sizing, never for assets.

    Raises:
        UsageError: when the library makes no network of the configuration.
    """
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(seed)
        try:
            return model(config).eval().requires_grad_(False)  # type: ignore[no-any-return]
        except Exception as error:  # it raises many types on values that make no network; the cause is kept
            said = f"{type(error).__name__}: {error}"
            raise UsageError(f"transformers makes no network of its config.json ({said}); copy it again") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and notes; what counts is raised."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
