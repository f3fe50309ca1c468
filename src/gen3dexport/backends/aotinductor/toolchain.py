"""What a build needs beside torch: a C++ compiler, the CUDA headers, a place to work; no vendor import."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from gen3dexport.documents.caches import make_private, private_folder, temporary_folder
from gen3dexport.errors import MissingError

CHECKED: Mapping[str, str] = {"2.14.1": "3.8.0", "2.11.0": "3.6.0"}
"""torch version -> Triton version with which the build without a GPU was checked."""

_HEADERS = ("crt/host_defines.h", "cuda_runtime_api.h", "cuda.h")


def release(version: str) -> str:
    """A version without its local part: `2.14.1+cu130` -> `2.14.1`."""
    return version.split("+")[0]


def installed(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def compiler() -> str:
    """The C++ compiler.

    Raises:
        MissingError: when there is none.
    """
    name = os.environ.get("CXX", "g++")
    if shutil.which(name) is None:
        raise MissingError(f"{name}: C++ compiler not found; apt-get install g++, or set CXX")
    return name


def _nv_target(include: Path) -> bool:
    return (include / "nv/target").exists() or (include / "cccl/nv/target").exists()


def _candidates() -> Iterator[Path]:
    for variable in ("CUDA_HOME", "CUDA_PATH"):
        if os.environ.get(variable):
            yield Path(os.environ[variable])
    yield Path("/usr/local/cuda")
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(folder) / "cu13"


def cuda_home() -> Path:
    """The CUDA toolkit whose headers host code is compiled against: CUDA_HOME, /usr/local/cuda, or pip's.

    Raises:
        MissingError: when none has the headers.
    """
    for folder in _candidates():
        include = folder / "include"
        if all((include / header).exists() for header in _HEADERS) and _nv_target(include):
            return folder
    raise MissingError(
        'CUDA headers (crt/host_defines.h, nv/target) not found; pip install "nvidia-cuda-crt==13.0.*" '
        '"nvidia-cuda-cccl==13.0.*", or install a CUDA 13.0 toolkit and set CUDA_HOME'
    )


def missing(device: str) -> list[str]:
    """What a build for `device` (cpu or cuda) lacks here, each line with its remedy; imports nothing."""
    problems = []
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        problems.append(
            f"{sys.platform} {os.uname().machine}: packages are built on x86-64 Linux only; use such a machine"
        )
    version = installed("torch")
    if version is None:
        problems.append("torch: not installed; pip install 'gen3dexport[torch]'")
    try:
        compiler()
    except MissingError as error:
        problems.append(str(error))
    if device == "cpu":
        return problems
    triton = installed("triton")
    if triton is None:
        problems.append("triton: not installed; pip install 'gen3dexport[cuda]'")
    spec = importlib.util.find_spec("torch")
    if spec and spec.origin and not (Path(spec.origin).parent / "lib" / "libtorch_cuda.so").exists():
        problems.append(f"torch {version}: a build without CUDA; pip install torch=={next(iter(CHECKED))} from PyPI")
    try:
        cuda_home()
    except MissingError as error:
        problems.append(str(error))
    driver = Path("/dev/nvidiactl").exists()
    if version and triton and not driver and CHECKED.get(release(version)) != release(triton):
        pairs = " or ".join(f"torch=={t} triton=={v}" for t, v in CHECKED.items())
        problems.append(f"torch {version}, triton {triton}: without a GPU, builds need {pairs}; pip install those")
    return problems


def work_folder() -> Path:
    """Where the compiler works: fixed for a user and a torch version, so that what it has compiled is found again.

    torch writes its compiler's command as one line and splits it at spaces, so the place is one without.

    Raises:
        MissingError: when there is no such place.
    """
    folder, problem = private_folder("aotinductor"), "torch cannot compile where a path has a space"
    if _has_space(folder):
        folder = temporary_folder(f"{folder}: {problem}") / "aotinductor"
        if _has_space(folder):
            raise MissingError(f"{folder}: {problem}; name another with GEN3DEXPORT_CACHE or TMPDIR")
        make_private(folder)
    return folder / f"torch-{installed('torch')}"


def _has_space(path: Path) -> bool:
    return any(letter.isspace() for letter in str(path))
