"""A package is the same bytes whoever builds it where, and names no folder of the building machine."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import torch

BUILD = """
import sys, torch
from pathlib import Path
from torch import nn
from gen3dexport.backends import aotinductor
from gen3dexport.export import Captured
from gen3dexport.models.component import Component

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.LayerNorm(4)).eval()
component = Component("decoder", network, {"x": torch.zeros(1, 8)}, ("y",))
aotinductor.lower(Captured(component), aotinductor.Options(), Path(sys.argv[1]))
"""


def _built(folder: Path, cache: str) -> Path:
    """The package built with a home, a cache, folders for temporary files and a hash seed of its own."""
    variables = {"HOME": "home", "GEN3DEXPORT_CACHE": cache, "TMPDIR": "scratch"}
    for name in ("out", *variables.values()):
        (folder / name).mkdir(parents=True)
    places = {variable: str(folder / name) for variable, name in variables.items()}
    own = os.environ | places | {"PYTHONHASHSEED": str(len(folder.name))}
    work = folder / cache / "aotinductor" / f"torch-{version('torch')}"
    left = work / "decoder.tmp" / "left.s"  # by a killed compiler
    if " " not in cache:
        left.parent.mkdir(parents=True)
        left.touch()
    subprocess.run([sys.executable, "-c", BUILD, str(folder / "out")], check=True, env=own, cwd=folder)
    assert " " in cache or ((work / "locks").exists() and not left.parent.exists())
    return folder / "out" / "decoder.pt2"


def test_packages_of_two_builders(tmp_path: Path) -> None:
    one, other = _built(tmp_path / "one", "cache"), _built(tmp_path / "another_builder", "cache of a builder")
    folders = [str(tmp_path), str(Path(torch.__file__).parents[1]), str(Path.home()), str(Path(__file__).parents[3])]
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        assert first.namelist() == second.namelist()
        for name in first.namelist():
            assert first.read(name) == second.read(name), name
            assert not [folder for folder in folders if folder.encode() in first.read(name)], name
    assert one.read_bytes() == other.read_bytes()
