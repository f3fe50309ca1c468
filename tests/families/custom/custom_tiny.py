"""A module of the library torch as a model of one's own, and its recipe: a layer of a transformer, seeded weights."""

from __future__ import annotations

from pathlib import Path

RECIPE = """\
schema: 2
name: custom-tiny
summary: one layer of torch's own transformer; rows in, rows out
weights: factory
model:
  factory: torch.nn:TransformerEncoderLayer
  arguments: {d_model: 32, nhead: 4, dim_feedforward: 64, batch_first: true, dropout: 0.0}
  inputs: {src: [1, 16, 32]}
budgets:
  relative_l2: 1.0e-3
  relative_l2_fp32: 1.0e-3
"""


def checkpoint(folder: Path) -> Path:
    """`folder`, with nothing in it: the factory gives the weights."""
    return folder


def recipe(weights: Path, path: Path) -> Path:
    """The recipe, written to `path`."""
    path.write_text(RECIPE)
    return path
