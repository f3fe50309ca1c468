"""`gen3dexport profile`: a bundle's programs in a process of their own, and what it says of bad input."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., tuple[int, str, str]]
FILES = ["profile.html", "profile.json", "trace.json"]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_a_bundle_beside_itself(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    before = digests(tiny_bundle)
    code, out, error = cli(
        "profile", tiny_bundle, tiny_bundle, "-o", tmp_path / "p", "--calls", "2", "--threads", "1", "--json"
    )
    assert code == 0, error
    found = json.loads(out)
    assert sorted(path.name for path in (tmp_path / "p").iterdir()) == FILES
    assert json.loads((tmp_path / "p" / "profile.json").read_text()) == found
    assert digests(tiny_bundle) == before
    for each in found["profiles"]:
        assert each["threads"] == 1 and [p["program"] for p in each["programs"]] == ["flow", "decoder"]
        flow, decoder = each["programs"]
        assert flow["calls"] > 1 and flow["basis"] == "measured" and flow["peak_memory"]["basis"] == "measured"
        for program, wanted in ((flow, "matrix product"), (decoder, "convolution")):
            total = sum(row["ms"] for row in program["operators"])
            assert total == pytest.approx(program["operators_ms"])
            assert 0.2 * program["traced"]["mean_ms"] < total < 1.05 * program["traced"]["mean_ms"]
            assert sum(row["share"] for row in program["operators"]) == pytest.approx(1)
            assert wanted in {row["kind"] for row in program["operators"]}
    assert {r["operator"] for r in found["ratios"]} >= {"whole call", "matrix product", "convolution"}
    assert all(0.05 < r["ratio"] < 20 for r in found["ratios"] if r["operator"] == "whole call")
    events = json.loads((tmp_path / "p" / "trace.json").read_text())["traceEvents"]
    assert {e["pid"] for e in events} == {1, 2} and any(e["name"].startswith("aten::conv") for e in events)


def test_one_component_in_the_terminal(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    code, out, error = cli("profile", tiny_bundle, "-o", tmp_path / "p", "--calls", "1", "--component", "decoder")
    assert code == 0, error
    assert "decoder" in out and "flow  " not in out and "torch.profiler" in out
    assert "a plain one, and its operators are" in out
    assert str(tmp_path / "p" / "profile.html") in out


def test_bad_input(tiny_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    place = tmp_path / "p"
    code, _, error = cli("profile", tmp_path, "-o", place)
    assert code == 2 and "manifest.json" in error
    code, _, error = cli("profile", tiny_bundle, "-o", place, "--component", "flaw")
    assert code == 2 and "component 'flaw': there is none of that name; did you mean 'flow'?" in error
    (tmp_path / "file").write_text("x")
    code, _, error = cli("profile", tiny_bundle, "-o", tmp_path / "file")
    assert code == 2 and "is a file" in error
    damaged = Path(shutil.copytree(tiny_bundle, tmp_path / "damaged"))
    program = next((damaged / "programs").glob("decoder*"))
    program.write_bytes(program.read_bytes()[:-1] + b"x")
    code, _, error = cli("profile", damaged, "-o", place)
    assert code == 7 and program.name in error
    assert not place.exists()


def test_a_missing_runtime(tiny_bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    from gen3dexport.backends import eager
    from gen3dexport.errors import MissingError
    from gen3dexport.profiling import child, profile

    def load(folder: Path, program: object) -> object:
        raise MissingError("torch is not installed; run: pip install 'gen3dexport[torch]'")

    class Here:
        """The child's work in this process, where torch seems to be missing."""

        @staticmethod
        def run(command: list[str], **_: object) -> None:
            child.main(command[3:])

    monkeypatch.setattr(eager, "load", load)
    monkeypatch.setattr(profile, "subprocess", Here)
    code, _, error = cli("profile", tiny_bundle, "-o", tmp_path / "p")
    assert code == 3 and "torch is not installed" in error
    assert not (tmp_path / "p").exists()
