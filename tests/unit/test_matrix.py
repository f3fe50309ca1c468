"""A matrix's cells, memory, processes and report, with commands that take no time in place of builds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

from gen3dexport.errors import Interrupted, UsageError
from gen3dexport.matrix import here, one_cell, tiny
from gen3dexport.matrix.build import build_matrix, kept
from gen3dexport.matrix.cells import Cell, make_cells
from gen3dexport.matrix.here import build_here
from gen3dexport.matrix.junit import to_junit
from gen3dexport.matrix.memory import MARGIN, OF_A_PROCESS, Memory, TooLarge, need
from gen3dexport.matrix.one_cell import Work
from gen3dexport.matrix.page import render_html
from gen3dexport.matrix.place import Place
from gen3dexport.matrix.processes import last_words, run
from gen3dexport.matrix.results import Result, exit_code
from gen3dexport.matrix.tables import to_markdown

Cli = Callable[..., tuple[int, str, str]]
GB = 10**9
MADE = {"gen3dexport": "1", "machine": "a machine", "how": "2 jobs", "seconds": 3.0, "date": "2000-01-01"}


def _cell(name: str, **fields: Any) -> Cell:
    return Cell(name, "eager", (name,), digest=f"{name}-digest", networks=name, **fields)


def _result(status: Any, code: int = 0, reason: str = "", recipe: str = "r", **found: Any) -> Result:
    return Cell(recipe, "eager", (), digest="d").result(status, code, reason, **found)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has asked for its exit code does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands in for `gen3dexport build CELL`: Python by the cell's name; a plan expects no memory beside a
    process's. A build that says nothing else writes a bundle."""
    scripts: dict[str, str] = {}
    plan = """print('{"components": [{"parameters": 0, "bytes": 0, "expected_peak_bytes": 0}]}')"""

    def command(*arguments: str) -> list[str]:
        script = plan if arguments[0] == "plan" else scripts.get(arguments[1], "")
        return [sys.executable, "-c", script, *arguments]

    class Judged:
        size_bytes, budgets, components = 1000, (), ()

    monkeypatch.setattr(one_cell, "gen3dexport", command)
    monkeypatch.setattr(one_cell, "read_report", lambda folder: Judged())
    return scripts


@pytest.fixture
def work(tmp_path: Path) -> Work:
    place = Place(tmp_path / "matrix")
    with place.held():
        pass
    return Work(place)


def _build(cells: list[Cell], work: Work, jobs: int = 2, memory: int = 100 * GB) -> list[Result]:
    free = Memory(memory, lambda: 100 * GB)
    return build_here(cells, work, jobs, free, lambda cell, now: None)


def test_one_failing_cell_stops_no_other(commands: dict[str, str], work: Work) -> None:
    commands["bad"] = "import sys; print('a stage'); print('error: no such operator', file=sys.stderr); sys.exit(4)"
    commands["gone"] = "import os, signal; print('half'); os.kill(os.getpid(), signal.SIGKILL)"
    commands["wrong"] = "import sys; print('error: knobs.x: unknown'); sys.exit(2)"
    found = _build([_cell(name) for name in ("bad", "good", "gone", "wrong", "also")], work)
    assert [(r.status, r.exit_code) for r in found] == [
        ("failed", 4), ("pass", 0), ("failed", 137), ("refused", 2), ("pass", 0),
    ]  # fmt: skip
    assert found[0].reason == "no such operator"
    assert "SIGKILL, perhaps for want of memory" in found[2].reason and found[2].reason.endswith("half")
    assert exit_code(found) == 137 and exit_code([found[1]]) == 0


def test_cells_that_do_not_fit_together_never_run_together(commands: dict[str, str], work: Work) -> None:
    cells = [_cell(f"c{i}") for i in range(4)]
    log = work.place.folder / "times"
    for cell in cells:
        commands[cell.recipe] = (
            f"import time; s=open({str(log)!r}, 'a'); s.write('+'); s.flush(); time.sleep(.3); s.write('-')"
        )
    _build(cells, work, jobs=4, memory=2 * OF_A_PROCESS - 1)
    assert log.read_text() == "+-" * 4
    log.unlink()
    _build(cells, work, jobs=4, memory=2 * OF_A_PROCESS)
    text = log.read_text()
    depth, most = 0, 0
    for sign in text:
        depth += 1 if sign == "+" else -1
        most = max(most, depth)
    assert most == 2


def test_a_cell_that_is_too_large_is_told(commands: dict[str, str], work: Work) -> None:
    (found,) = _build([_cell("c")], work, memory=GB)
    assert (found.status, found.exit_code) == ("skipped", 3)
    assert "needs 2.0 GB, and 1.0 GB are there for cells" in found.reason and "--memory" in found.reason


def test_memory_is_given_in_turn_and_not_beyond_what_is_free() -> None:
    free = [10 * GB]
    memory = Memory(10 * GB, lambda: free[0], patience=0.2)
    order: list[str] = []

    def ask(name: str, wanted: int) -> None:
        with memory.room(wanted):
            order.append(name)

    with memory.room(6 * GB) as use:
        threads = [
            threading.Thread(target=ask, args=("large", 8 * GB)),
            threading.Thread(target=ask, args=("small", 1)),
        ]
        for thread in threads:
            thread.start()
            time.sleep(0.1)
        assert not order, "the small one must not overtake the large one"
        use(6 * GB)
        free[0] = 9 * GB
    for thread in threads:
        thread.join(5)
    assert order == ["large", "small"]
    free[0] = GB
    with pytest.raises(TooLarge, match=r"needs 2\.0 GB, and other programs leave 1\.0 GB free"), memory.room(2 * GB):
        pass
    assert need(GB, None) == OF_A_PROCESS + GB and need(GB, 2 * GB) == round(2 * GB * MARGIN)


def test_what_passed_is_kept_while_nothing_of_it_changes(commands: dict[str, str], work: Work) -> None:
    cell, place = _cell("c"), work.place
    build: Any = lambda cells, work, change: build_here(cells, work, 1, Memory(9 * GB, lambda: 9 * GB), change)  # noqa: E731
    assert [r.status for r in build_matrix([cell], work, build, "1 job", lambda cell, now: None)] == ["pass"]
    folder = place.bundle(cell.name)
    assert kept(cell, work) is None, "there is no bundle"
    folder.mkdir()
    (folder / "a.bin").write_bytes(b"four")
    (folder / "manifest.json").write_text(json.dumps({"files": {"a.bin": {"bytes": 4}}}))
    found = kept(cell, work)
    assert found is not None and found.status == "pass"
    commands["c"] = "import sys; sys.exit('must not be built')"
    assert build_matrix([cell], work, build, "1 job", lambda cell, now: None)[0].status == "pass"
    other = Cell("c", "eager", ("c",), digest="other")
    assert kept(other, work) is None, "same name, other content"
    (folder / "a.bin").write_bytes(b"three")
    assert kept(cell, work) is None, "a file was damaged"
    assert build_matrix([cell], work, build, "1 job", lambda cell, now: None)[0].status == "failed"
    (folder / "a.bin").write_bytes(b"four")
    assert kept(cell, work) is None, "a cell that failed is tried again"
    for name in ("matrix.json", "matrix.md", "matrix.html", "matrix.xml"):
        assert "c-eager" in (place.folder / name).read_text() or name == "matrix.xml"


def test_an_earlier_peak_says_what_a_cell_needs(commands: dict[str, str], work: Work) -> None:
    cell = _cell("c")
    work.place.keep(cell.result("failed", 137, "killed", peak_bytes=4 * GB))
    assert here.estimate(cell, work, {}, lambda: False) == 5 * GB
    assert here.estimate(Cell("c", "eager", ("c",), "new"), work, {}, lambda: False) == OF_A_PROCESS


def test_a_plan_that_fails_is_told(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"error": "UsageError", "message": "flow: nothing to quantize"}
    script = f"import sys; print({json.dumps(said)!r}); sys.exit(2)"
    monkeypatch.setattr(one_cell, "gen3dexport", lambda *a: [sys.executable, "-c", script])
    (found,) = _build([_cell("c")], work)
    assert (found.status, found.exit_code, found.reason) == ("refused", 2, "flow: nothing to quantize")


def test_an_interruption_ends_children_and_writes_the_report(commands: dict[str, str], work: Work) -> None:
    pids = work.place.folder / "pids"
    commands["a"] = (
        "import os, subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{p.pid}} '); time.sleep(60)"
    )
    cells = [_cell("done"), _cell("a"), _cell("b")]
    seen: list[tuple[str, str]] = []

    def stop(cell: Cell, now: str | Result) -> None:
        if isinstance(now, Result):
            seen.append((cell.recipe, now.status))

    def build(left: Any, work: Work, change: Any) -> Any:
        return build_here(left, work, 1, Memory(9 * GB, lambda: 9 * GB), change)

    def interrupt() -> None:
        while not (pids.is_file() and pids.read_text().endswith(" ")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGUSR1)

    def raised(number: int, frame: object) -> None:
        raise Interrupted

    before = signal.signal(signal.SIGUSR1, raised)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(Interrupted):
            build_matrix(cells, work, build, "1 job", stop)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == [("done", "pass"), ("a", "skipped"), ("b", "skipped")]
    assert not any(_alive(int(pid)) for pid in pids.read_text().split())
    made = json.loads((work.place.folder / "matrix.json").read_text())
    assert [c["status"] for c in made["cells"]] == ["pass", "skipped", "skipped"] and made["exit_code"] == 130


def test_children_end_with_a_matrix_that_is_killed(tmp_path: Path) -> None:
    """`gen3dexport` itself asks for it, so the child here does as it does."""
    child = (
        "from gen3dexport.children import end_with_parent; end_with_parent(); import os, time;"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(f'{{os.getpid()}} '); time.sleep(60)"
    )
    script = (
        "import os, sys; from gen3dexport.matrix.processes import run;"
        f"run([sys.executable, '-c', {child!r}], os.environ, open(os.devnull, 'wb'), open(os.devnull, 'wb'))"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    pid = tmp_path / "pid"
    while not (pid.is_file() and pid.read_text().endswith(" ")):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not _alive(int(pid.read_text())):
            return
        time.sleep(0.05)
    pytest.fail("the child lives on")


def test_memory_of_a_process_and_its_children_is_looked_at(tmp_path: Path) -> None:
    grandchild = "a = bytearray(60_000_000); import time; time.sleep(1.6)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    with (tmp_path / "log").open("wb") as log:
        ended = run([sys.executable, "-c", script], os.environ, log, log)
    assert ended.code == 0 and 60e6 < ended.peak_bytes < 200e6


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("stage 1\nerror: two\n  lines\n", 4, "two lines"),
        ("stage 1\n\x1b[31mlast\x1b[0m\n\n", 1, "last"),
        ("", 139, "killed by SIGSEGV"),
        ("half", 130, "interrupted"),
        ("error: " + "x" * 999, 4, "x" * 600 + "…"),
    ],
)
def test_last_words(text: str, code: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    assert last_words(tmp_path / "log", code) == words


def test_cells_are_recipes_times_targets(tiny_recipe: Path) -> None:
    cells = make_cells([str(tiny_recipe), "trellis-mini"], ["eager", "tpu"], ["golden.seed=3"])
    assert [c.name for c in cells] == [
        f"{r}-{t}" for r in ("trellis-tiny", "trellis-mini") for t in ("eager", "tpu-v5e")
    ]
    assert cells[0].arguments == (str(tiny_recipe), "golden.seed=3", "--target", "eager")
    assert len({c.digest for c in cells}) == 4 and cells[0].networks == cells[1].networks != cells[2].networks
    again = make_cells([str(tiny_recipe)], ["eager"], ["golden.seed=3"])[0]
    assert again.digest == cells[0].digest != make_cells([str(tiny_recipe)], ["eager"])[0].digest


def test_the_digest_is_of_content_and_not_of_a_file_s_name(tiny_recipe: Path, tiny_weights: Path) -> None:
    digest = make_cells([str(tiny_recipe)], ["eager"])[0].digest
    moved = tiny_recipe.rename(tiny_recipe.with_name("other.yaml"))
    assert make_cells([str(moved)], ["eager"])[0].digest == digest
    moved.write_text(moved.read_text().replace("1.0e-3", "1.0e-2"))
    assert make_cells([str(moved)], ["eager"])[0].digest != digest
    moved.write_text(moved.read_text().replace("1.0e-2", "1.0e-3"))
    weights = tiny_weights / "ckpts" / "ss_dec_tiny.safetensors"
    before = weights.read_bytes()
    try:
        weights.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert make_cells([str(moved)], ["eager"])[0].digest != digest
    finally:
        weights.write_bytes(before)


def test_what_a_plan_refuses(tiny_recipe: Path) -> None:
    """A scheme that a target does not take is a true answer; a recipe that nothing can be built of is a fault."""
    scheme, weights = (
        make_cells([str(tiny_recipe)], ["onnx"], ["components.flow.scheme=float8-dynamic"]),
        make_cells([str(tiny_recipe)], ["onnx"], ["weights=nowhere"]),
    )
    assert (scheme[0].status, scheme[0].exit_code) == ("refused", 0) and "float8-dynamic is refused" in scheme[0].reason
    assert (weights[0].status, weights[0].exit_code) == ("refused", 2) and "nowhere" in weights[0].reason
    assert scheme[0].digest != weights[0].digest


def test_the_same_cell_twice_and_unknown_names_are_told_at_once(tiny_recipe: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        make_cells(["trellis-minni", str(tmp_path / "no.yaml")], ["executorhc"])
    for words in ("did you mean 'trellis-mini'?", "no.yaml': not found", "did you mean 'executorch'?"):
        assert words in str(told.value)
    with pytest.raises(UsageError, match=r"target tpu-v5e: given 2 times \(tpu, tpu-v5e\)"):
        make_cells(["trellis-mini"], ["tpu", "tpu-v5e"])
    other = tmp_path / "another.yaml"
    other.write_text(tiny_recipe.read_text())
    with pytest.raises(UsageError, match="recipe trellis-tiny: given 2 times"):
        make_cells([str(tiny_recipe), str(other)], ["eager"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs", "0"], "--jobs 0: needs a whole number from 1 on"),
        (["--jobs", "2", "--ray", "auto"], "--jobs: is for this machine"),
        (["--memory", "-1"], "--memory -1.0"),
        (["trellis-mini"], "recipes are named with --recipes"),
        (["--recipes", "trelis-mini", "--dry-run"], "did you mean 'trellis-mini'?"),
        (["--targets", "onx", "--dry-run"], "did you mean 'onnx'?"),
        (["golden.sed=1", "--recipes", "trellis-mini", "--dry-run"], "golden.sed: unknown key"),
        (["--recipes", "trellis-mini", "--push", "Nowhere", "--dry-run"], "write HOST[:PORT]/NAME:TAG"),
        (["--size", "huge"], "huge"),
        (["--ray", "nowhere"], "--ray nowhere: needs HOST:PORT"),
        (["--ray", "here:99999"], "--ray here:99999: needs HOST:PORT"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str, cli: Cli, tmp_path: Path) -> None:
    code, out, error = cli("matrix", *arguments, "-o", tmp_path / "matrix")
    assert (code, out) == (2, "") and words in " ".join(error.split())
    assert not (tmp_path / "matrix").exists()


def test_a_cluster_that_does_not_answer_is_told_at_once(cli: Cli, tmp_path: Path) -> None:
    code, _, error = cli("matrix", "--ray", "127.0.0.1:1", "-o", tmp_path / "matrix")
    assert code == 3 and "--ray 127.0.0.1:1: no Ray cluster is there (Connection refused); start one" in error
    assert not (tmp_path / "matrix").exists()


def test_a_folder_of_something_else_stays_as_it_is(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_text("mine")
    code, _, error = cli("matrix", "--recipes", "trellis-mini", "-o", tmp_path)
    assert code == 2 and "is not a matrix's folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    code, _, error = cli("matrix", "--recipes", "trellis-mini", "-o", tmp_path / "photo.png")
    assert code == 2 and "is not a matrix's folder" in error


def test_two_matrices_in_one_folder(work: Work) -> None:
    with work.place.held(), pytest.raises(UsageError, match="another matrix is built there"), work.place.held():
        pass


def test_a_dry_run_builds_nothing(cli: Cli, tiny_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "matrix"
    arguments = ("--recipes", tiny_recipe, "--targets", "eager,onnx", "components.flow.scheme=float8-dynamic")
    code, text, error = cli("matrix", *arguments, "-o", out, "--dry-run", "--json")
    assert code == 0 and not out.exists(), error
    rows = json.loads(text)
    assert [row["cell"] for row in rows] == ["trellis-tiny-eager", "trellis-tiny-onnx"]
    assert rows[1]["what"] == "refused" and "float8-dynamic is refused" in rows[1]["why"]


def test_reports_hold_every_cell() -> None:
    results = [
        _result("pass", recipe="a", seconds=61.4, size_bytes=2_500_000, peak_bytes=1_500_000_000, host="h", built="t"),
        _result("refused", 0, "no <int4> | here", recipe="b"),
        _result("failed", 4, "boom\x07", recipe="c", host="h", attempts=("n1", "n2")),
        _result("skipped", 3, "no onnx", recipe="d"),
        _result("pass", recipe="e", unmeasured="no GPU", host="h"),
    ]
    text = to_markdown(results, MADE)
    assert "| a | pass |" in text and "| b | refused [1] |" in text and "| c | failed (4) [2] |" in text
    assert "| e | pass, unmeasured |" in text and "1. no <int4> | here" in text
    assert "| a-eager | pass | 61 | 2.50 | 1.50 |" in text and "5 cells: 2 pass, 1 refused, 1 failed, 1 skipped" in text
    suite = ElementTree.fromstring(to_junit(results))
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "1", "2")
    assert [[child.tag for child in case] for case in suite] == [[], ["skipped"], ["failure"], ["skipped"], []]
    page = render_html(results, MADE)
    assert "no &lt;int4&gt; | here" in page and 'href="bundles/a-eager/report.html"' in page
    assert "n1, then n2" in page and 'href="logs/c-eager.log"' in page


def test_tiny_recipes_are_named_by_family_or_by_a_recipe_of_it() -> None:
    made = {"triposr": Path("triposr.yaml"), "hunyuan3d_2": Path("hunyuan3d_2.yaml")}
    assert tiny.chosen(["hunyuan3d-2", "triposr"], made) == ["hunyuan3d_2.yaml", "triposr.yaml"]
    assert tiny.chosen(["hunyuan3d-2-mini-turbo"], made) == ["hunyuan3d_2.yaml"]
    with pytest.raises(UsageError, match="--recipes tripsr: no family with a tiny checkpoint; did you mean 'triposr'"):
        tiny.chosen(["tripsr"], made)
