"""The command line itself: what it says when it is stopped, when nobody reads it, and of seeds and prompts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from gen3dexport.cli.app import COMMANDS, module_name

Cli = Callable[..., tuple[int, str, str]]
COMMAND = [sys.executable, "-m", "gen3dexport"]


@pytest.mark.parametrize("arguments", [["ls"], ["ls", "schemes", "--json"], ["--version"], ["--help"]], ids=" ".join)
def test_a_full_standard_output_is_told_as_such(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        "error: standard output: cannot be written (No space left on device); send it to another place\n"
    )


def test_an_error_that_standard_output_does_not_take_goes_to_stderr() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "show", "x", "--json"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: 'x': neither a recipe nor a target") and done.stderr.count("\n") == 1


def test_a_reader_who_leaves_is_no_error() -> None:
    with subprocess.Popen([*COMMAND, "ls"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None and started.stderr is not None
        started.stdout.close()
        error = started.stderr.read()
    assert (started.returncode, error) == (1, "")


def test_a_closed_standard_output_is_no_error() -> None:
    done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", *COMMAND, "ls"], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bulid"], "did you mean 'build'?"),
        (["ls", "--jsn"], "--json"),
        (["run"], "BUNDLE"),
        (["tune", "x", "--candidates", "0"], "--candidates"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_arguments_exit_2(arguments: list[str], words: str, as_json: bool, cli: Cli) -> None:
    code, out, error = cli(*arguments, *(["--json"] if as_json else []))
    assert code == 2
    if as_json:
        found = json.loads(out)
        assert found["error"] == "UsageError" and words in found["message"]
        assert error == ""
    else:
        assert out == "" and words in error


def test_every_command_has_its_help(cli: Cli) -> None:
    code, out, _ = cli("--help")
    assert code == 0
    assert [line.split()[0] for line in out.partition("Commands:\n")[2].splitlines()] == list(COMMANDS)
    for name in COMMANDS:
        code, out, _ = cli(name, "--help")
        assert code == 0 and f"Example: gen3dexport {name}" in " ".join(out.split()), name


@pytest.mark.parametrize("name", ["build", "plan", "sensitivity", "tune"])
def test_what_takes_a_recipe_takes_it_alike(name: str, cli: Cli) -> None:
    _, out, _ = cli(name, "--help")
    text = " ".join(out.split())
    assert "[RECIPE|KEY=VALUE]..." in text and "YAML file (default trellis-mini), then what to override" in text
    assert "list[" not in text
    code, _, error = cli(name, "golden.sed=1")  # of the default recipe
    assert code == 2 and "golden.sed: unknown key; did you mean 'seed'?" in error
    code, _, error = cli(name, "trellis-mini", "tpu")
    assert code == 2 and "did you mean --target tpu?" in error


def _numbers() -> list[tuple[str, str]]:
    """(command, option) of every option that takes a number which need not be whole, or a text with one."""
    found = [("cache", "--max-size")] + [("compare", f"--max-{of}-increase") for of in ("latency", "size", "memory")]
    for name in COMMANDS:
        hints = get_type_hints(getattr(import_module(f"gen3dexport.cli.{module_name(name)}"), module_name(name)))
        found += [
            (name, f"--{key.replace('_', '-')}") for key, hint in hints.items() if float in (hint, *get_args(hint))
        ]
    return found


def test_numbers_of_options_are_finite(cli: Cli) -> None:
    """Told before anything is read: neither recipe nor bundle is there."""
    assert {("run", "--size"), ("tune", "--max-loss"), ("parity", "--tolerance")} <= {*_numbers()}
    words = {"parity": ["no-such", "no-such"], "compare": [".", "."], "cache": ["prune"]}
    for name, option in _numbers():
        for number in ("nan", "inf", "-inf", "1e999", "NaN", "Infinity"):
            code, out, error = cli(name, *words.get(name, ["no-such"]), f"{option}={number}")
            assert (code, out) == (2, "") and option in error and "no-such" not in error, (name, option, number, error)


@pytest.mark.parametrize("seed", ["-2", "1.5", "one", "", str(2**63)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_seed_that_is_none_is_told_before_anything_loads(seed: str, as_json: bool, cli: Cli) -> None:
    code, out, error = cli("run", "no-bundle", "-p", "a chair", "--seed", seed, *(["--json"] if as_json else []))
    assert code == 2
    message = json.loads(out)["message"] if as_json else error
    assert "--seed" in message and "no-bundle" not in message


@pytest.mark.parametrize("field", ["golden.seed", "calibration.seed"])
@pytest.mark.parametrize("seed", ["-1", "1.5", "7.0", '"7"', "one", str(2**63)])
def test_a_seed_of_a_recipe_is_a_whole_number(field: str, seed: str, cli: Cli) -> None:
    code, out, _ = cli("plan", "trellis-mini", f"{field}={seed}", "--json")
    assert code == 2
    assert field in json.loads(out)["message"]


def test_bytes_that_are_no_text_are_told_before_anything_loads() -> None:
    command = [*map(os.fsencode, COMMAND), b"run", b"no-bundle", b"--json", b"-p", b"a chair \xff"]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == 2
    message = json.loads(done.stdout)["message"]
    assert "--prompt" in message and "UTF-8" in message and "character 9" in message
    assert done.stderr == b""


def test_seed_minus_one_draws_a_seed_that_the_result_names(prompted: Path, tmp_path: Path, cli: Cli) -> None:
    def made(seed: int, name: str) -> tuple[int, dict[str, np.ndarray]]:
        arguments = ["-p", "a tall chair", "--seed", str(seed), "-o", tmp_path / name, "--json"]
        code, out, error = cli("run", prompted, *arguments)
        assert code == 0, error
        with np.load(tmp_path / name) as arrays:
            return json.loads(out)["seed"], {key: arrays[key] for key in arrays.files}

    drawn, asset = made(-1, "drawn.npz")
    again, same = made(drawn, "again.npz")
    assert 0 <= drawn < 2**32 and again == drawn
    assert asset.keys() == same.keys() and all(np.array_equal(asset[key], same[key]) for key in asset)
    code, out, _ = cli("run", prompted, "-p", "a tall chair", "--seed", "-1", "-o", tmp_path / "text.npz")
    assert code == 0 and int(out.partition("\nseed ")[2].split()[0]) != drawn


def test_a_run_writes_nothing_into_its_bundle(prompted: Path, cli: Cli) -> None:
    for place in (prompted / "a.glb", prompted / "new" / "a.glb"):
        code, _, error = cli("run", prompted, "-p", "a tall chair", "-o", place)
        assert code == 2 and "lies in the bundle" in error and not place.exists()
    code, _, error = cli("validate", prompted, "-o", prompted / "reports")
    assert code == 2 and "lies in the bundle" in error and not (prompted / "reports").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_says_nothing_of_a_stage_cache(number: int, prompted: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "features.npy"
    os.mkfifo(fifo)  # whose reader waits until it is stopped
    arguments = ["run", str(prompted), "--features", str(fifo), "-o", str(tmp_path / "asset.glb")]
    with subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True) as started:
        assert started.stderr is not None
        writer = None
        while writer is None and started.poll() is None:
            with contextlib.suppress(OSError):  # until the command opens it
                writer = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
            time.sleep(0.05)
        started.send_signal(number)
        error = started.stderr.read()
    assert writer is not None, error
    os.close(writer)
    assert started.returncode == 130
    assert error == "error: interrupted; no file is left half-written\n"
