"""The contracts of `gen3dexport.testing` fail for backends and families that break them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from gen3dexport import models
from gen3dexport.backends import eager
from gen3dexport.models import Request
from gen3dexport.testing import BackendContract, FamilyContract
from gen3dexport.testing.backend_contract import Written, write
from gen3dexport.testing.family_contract import run_through

OPTIONS = eager.Options(min_features=64)
FLOORS = dict.fromkeys(eager.SCHEMES, 1e-5)


def broken(**names: Any) -> ModuleType:
    """The eager backend with some names replaced."""
    module = ModuleType("broken")
    module.__dict__.update({k: v for k, v in vars(eager).items() if not k.startswith("__")} | names)
    return module


def plain(backend: ModuleType, folder: Path) -> Written:
    folder.mkdir()
    return write(backend, OPTIONS, "fp32", folder)


class Deaf:
    """A program that takes any inputs."""

    xp = torch

    def __init__(self, program: Any) -> None:
        self.program = program

    def __call__(self, inputs: Any) -> Any:
        return self.program(inputs) if "x" in inputs else {"y": torch.zeros(1)}


def noisy_lower(captured: Any, options: Any, out: Path) -> Any:
    """Weights that are a little off, otherwise each time."""
    with torch.no_grad():
        for parameter in captured.component.module.parameters():
            parameter += 1e-2 * torch.randn_like(parameter)
    return eager.lower(captured, options, out)


def littering_lower(captured: Any, options: Any, out: Path) -> Any:
    (out / "notes.txt").write_text("work")
    return eager.lower(captured, options, out)


def as_if(folder: Path, record: Any) -> Any:
    """Loads what there is, and nothing where it is damaged."""
    return eager.load(folder, record) if (folder / record.files[0]).stat().st_size else Deaf(None)


def test_schemes_left_out_are_found() -> None:
    contract = BackendContract()
    contract.test_every_scheme_is_taken_or_refused(eager, OPTIONS, FLOORS)
    fewer = {k: v for k, v in eager.SCHEMES.items() if k != "int4-weight"}
    floors = dict.fromkeys(fewer, 1e-5)
    with pytest.raises(AssertionError):
        contract.test_every_scheme_is_taken_or_refused(broken(SCHEMES=fewer), OPTIONS, floors)
    with pytest.raises(AssertionError):
        contract.test_every_scheme_is_taken_or_refused(eager, OPTIONS, floors)
    both = broken(REFUSED={**eager.REFUSED, "fp32": "too large"})
    with pytest.raises(AssertionError):
        contract.test_every_scheme_is_taken_or_refused(both, OPTIONS, FLOORS)


def test_programs_that_are_not_the_network_are_found(tmp_path: Path) -> None:
    contract, noisy = BackendContract(), broken(lower=noisy_lower)
    with pytest.raises(AssertionError):
        contract.test_float32_is_the_network(noisy, plain(noisy, tmp_path / "a"), FLOORS)
    (tmp_path / "b").mkdir()
    with pytest.raises(AssertionError):
        contract.test_every_scheme_is_its_own_quantized_model(noisy, OPTIONS, {"bf16": 1e-5}, tmp_path / "b")
    same = broken(quantize=lambda component, scheme, options, layers=None: component)
    (tmp_path / "c").mkdir()
    with pytest.raises(AssertionError):
        contract.test_every_scheme_is_its_own_quantized_model(same, OPTIONS, {"bf16": 1e-5}, tmp_path / "c")


def test_bytes_that_differ_are_found(tmp_path: Path) -> None:
    noisy, made = broken(lower=noisy_lower), plain(eager, tmp_path / "a")
    (tmp_path / "b").mkdir()
    with pytest.raises(AssertionError):
        BackendContract().test_same_component_same_bytes(noisy, OPTIONS, made, tmp_path / "b")


def test_files_that_are_not_named_are_found(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        BackendContract().test_files_are_named_and_there(plain(broken(lower=littering_lower), tmp_path / "a"))


def test_programs_that_take_anything_are_found(tmp_path: Path) -> None:
    made = plain(eager, tmp_path / "a")
    deaf = broken(load=lambda folder, record: Deaf(eager.load(folder, record)))
    with pytest.raises(pytest.fail.Exception):
        BackendContract().test_a_bad_call_is_refused(deaf, made)
    with pytest.raises(pytest.fail.Exception):
        BackendContract().test_a_damaged_program_is_refused(broken(load=as_if), made, tmp_path)


class Sloppy:
    """A family with some of its names replaced."""

    def __init__(self, **names: Any) -> None:
        self.__dict__ |= vars(models.find("trellis")) | names


@pytest.fixture(scope="module")
def host(tiny_weights: Path) -> Iterator[tuple[Any, Any, tuple[Any, ...], Path]]:
    family = models.find("trellis")
    settings = family.read_settings(tiny_weights, family.Knobs(), False)
    yield family, settings, family.components(settings), tiny_weights


Host = tuple[Any, Any, tuple[Any, ...], Path]


def test_declarations_that_are_not_the_networks_are_found(host: Host) -> None:
    _, settings, declared, weights = host
    contract = FamilyContract()
    for changed in ({"outputs": ("velocity",)}, {"inputs": ("t", "x", "cond")}):
        with pytest.raises(AssertionError):
            contract.test_shapes_are_what_is_declared((replace(declared[0], **changed),), weights)
    with pytest.raises(AssertionError):
        contract.test_names_are_unique((declared[0], declared[0]), settings)


def test_a_request_that_begins_otherwise_each_time_is_found(host: Host, tmp_path: Path) -> None:
    family, settings, _, _ = host

    def begin(drawn: Callable[[int], int]) -> Sloppy:
        def own(settings: Any, request: Request, files: Path, xp: Any) -> Any:
            return family.begin(settings, replace(request, seed=drawn(request.seed)), files, xp)

        return Sloppy(begin=own)

    count = iter(range(9))
    contract = FamilyContract()
    with pytest.raises(AssertionError):
        contract.test_a_request_begins_the_same_twice(begin(lambda seed: next(count)), settings, tmp_path)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="the seed changes nothing"):
        contract.test_a_request_begins_the_same_twice(begin(lambda seed: 0), settings, tmp_path)  # type: ignore[arg-type]


def test_steps_that_call_otherwise_are_found(host: Host, tmp_path: Path) -> None:
    family, settings, declared, weights = host
    contract = FamilyContract()

    def run(*changed: Any) -> Any:
        return run_through(family, settings, changed, weights, tmp_path)

    idle = replace(declared[0], advance=lambda state, program, xp: state)
    with pytest.raises(AssertionError, match="was not called"):
        contract.test_calls_are_what_is_declared((idle,), run(idle))
    listing = replace(declared[0], advance=lambda state, program, xp: {**state, "seen": ["flow"]})
    with pytest.raises(AssertionError):
        contract.test_states_are_arrays(run(listing))
    with pytest.raises(AssertionError):
        contract.test_loops_are_declared_on_both_sides((replace(declared[0], loop=None),), run(declared[0]))
