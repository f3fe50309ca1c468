"""The action and the examples for continuous integration: linted, and run on this machine without their services.

`act` runs the GitHub workflow of `examples/ci` with the action of this checkout; `tests/ci_stubs` stands in
for the actions of others, which it would download. GitLab's job is run line by line, as its runner does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from comment_server import Comments, serving
from conftest import FAST_TARGET, TINY_RECIPE
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
GITHUB, GITLAB = ROOT / "examples/ci/github.yml", ROOT / "examples/ci/gitlab.yml"
STUBS = Path(__file__).parents[1] / "ci_stubs"
OURS = "your-organisation/gen3dexport@0000000000000000000000000000000000000000"
NAME = "tiny.yaml-fast.yaml"
RECIPE = TINY_RECIPE.format(weights="weights").replace("[first, second]", "[first]")


def tool(name: str) -> str:
    """A program that a package of the extra `dev` brings."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is not installed; run: make .venv/.installed"
    return found


@pytest.mark.parametrize(
    "command",
    [
        ["zizmor", "--offline", "--no-progress", "--persona=pedantic", "action.yml", "examples/ci/github.yml"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml"],
        ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", "examples/ci/github.yml"],
        ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", str(GITLAB)],
        ["hadolint", "--failure-threshold=style", *(str(p) for p in sorted(ROOT.glob("docker/*.Dockerfile")))],
    ],
    ids=lambda command: f"{command[0]} {Path(command[-1]).name}",
)
def test_linters_find_nothing(command: list[str]) -> None:
    done = subprocess.run([tool(command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_linters_find_what_is_wrong(tmp_path: Path) -> None:
    text = (ROOT / "action.yml").read_text()
    (tmp_path / "action.yml").write_text(
        text.replace('gen3dexport build "$RECIPE"', "gen3dexport build ${{ inputs.recipe }}")
    )
    (tmp_path / "x.Dockerfile").write_text("FROM debian\nRUN apt-get install git\n")
    for command in (["zizmor", "--offline", "--no-progress", "action.yml"], ["hadolint", "x.Dockerfile"]):
        done = subprocess.run([tool(command[0]), *command[1:]], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode and ("template-injection" in done.stdout or "DL3006" in done.stdout), done.stdout


@dataclass(frozen=True)
class Repository:
    """A repository with the tiny model and the example's workflow.

    Attributes:
        folder: its work tree; places: where the stubs keep caches and artifacts; path: what PATH begins with.
    """

    folder: Path
    places: Path
    path: Path

    def environment(self, **more: str) -> dict[str, str]:
        """That of a process in it: this interpreter is `python`, this package `gen3dexport`."""
        kept = {name: os.environ[name] for name in ("PYTHONPATH", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        own = {"PATH": f"{self.path}:{os.environ['PATH']}", "HOME": str(self.places), "TERM": "dumb"}
        return {**kept, **own, **more}


@pytest.fixture(scope="module")
def repository(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    place = tmp_path_factory.mktemp("ci")
    made = Repository(place / "work", place / "places", place / "bin")
    (made.places / "caches").mkdir(parents=True)
    # act copies an action's folder for every step: of this one only what the action reads, and no .venv.
    shutil.copytree(ROOT / "examples/ci", made.places / "action/examples/ci")
    shutil.copy(ROOT / "action.yml", made.places / "action")
    made.path.mkdir()
    for name, words in (("python", ""), ("gen3dexport", " -m gen3dexport")):
        (made.path / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{words} "$@"\n')
        (made.path / name).chmod(0o755)
    shutil.copytree(tiny_weights, made.folder / "weights")
    (made.folder / "tiny.yaml").write_text(RECIPE)
    (made.folder / "fast.yaml").write_text(FAST_TARGET.replace("eager-fast", "fast"))
    text = GITHUB.read_text()
    for old, new in (
        ("recipe: [trellis-mini]", "recipe: [tiny.yaml]"),
        ("target: [executorch, onnx]", "target: [fast.yaml]"),
        ("            --max-latency-increase=100%\n", ""),  # of one call, on a machine that does other work
        (
            "          recipe: ${{ matrix.recipe }}\n",
            "          recipe: ${{ matrix.recipe }}\n          package: none\n          python-version: none\n",
        ),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    workflow = made.folder / ".github" / "workflows" / "bundles.yml"
    workflow.parent.mkdir(parents=True)
    workflow.write_text(text)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=made.folder, check=True, env=made.environment())
    commit(made)
    return made


def commit(repository: Repository) -> None:
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.invalid")
    for words in (["add", "-A"], [*who, "commit", "-q", "-m", "a change"]):
        subprocess.run(["git", *words], cwd=repository.folder, check=True, env=repository.environment())


def pins(ours: Path) -> Iterator[tuple[str, Path]]:
    """What the workflow and the action use of others, and what stands in for it; ours is the action's folder."""
    used = {
        line.partition("uses:")[2].split()[0]
        for file in (ROOT / "action.yml", GITHUB)
        for line in file.read_text().splitlines()
        if "uses: " in line
    }
    for name in sorted(used - {OURS}):
        action, _, version = name.partition("@")
        owner, repository, *_ = action.split("/")
        yield f"{owner}/{repository}@{version}", STUBS / repository
    yield OURS, ours


def act(repository: Repository, comments: Comments, event: str, payload: dict[str, object]) -> tuple[bool, str]:
    """Run the workflow for an event: whether it passed, and its log."""
    (repository.places / "event.json").write_text(json.dumps(payload))
    command = [tool("act"), event, "-P", "ubuntu-24.04=-self-hosted", "--no-cache-server", "-s", "GITHUB_TOKEN=a-token"]
    command += ["--action-cache-path", str(repository.places / "act"), "-e", str(repository.places / "event.json")]
    for name, folder in pins(repository.places / "action"):
        command += ["--local-repository", f"{name}={folder}"]
    environment = repository.environment(PLACES=str(repository.places), GITHUB_API_URL=comments.address)
    for name in environment:
        command += ["--env", f"{name}={environment[name]}"]
    done = subprocess.run(command, cwd=repository.folder, env=environment, capture_output=True, text=True, timeout=600)
    return done.returncode == 0, done.stdout + done.stderr


def test_the_workflow_builds_and_compares_with_the_base_branch(repository: Repository) -> None:
    with serving() as comments:
        passed, log = act(repository, comments, "push", {})
        assert passed, log
        assert "exit-code=0" in log and f"bundle=bundles/{NAME}" in log
        assert "Summary - # trellis-tiny on fast: pass" in log
        assert comments.asked == []
        uploaded = repository.places / "artifacts" / NAME
        assert (uploaded / "manifest.json").is_file() and (uploaded / "junit.xml").is_file()

        recipe = repository.folder / "tiny.yaml"
        recipe.write_text(recipe.read_text() + "components: {flow: {scheme: bf16}}\n")
        commit(repository)
        request = {"number": 7, "base": {"ref": "main"}, "head": {"ref": "change"}}
        passed, log = act(repository, comments, "pull_request", {"pull_request": request, "number": 7})
    assert not passed and "exit-code=5" in log, log  # bf16 is further from float32 than the recipe's budget
    assert "Summary - # trellis-tiny on fast: fail" in log
    (comment,) = comments.found
    mark, verdict, *rows = comment["body"].splitlines()
    assert mark.startswith("<!-- gen3dexport ") and verdict == "**gen3dexport compare: pass**", comment
    assert any(row.startswith("| bundle | size, MB |") and "| pass (limit +2%) |" in row for row in rows), rows
    (row,) = (row for row in rows if row.startswith("| flow | relative L2 to fp32 |"))
    before, after = (float(cell) for cell in row.split("|")[3:5])
    assert before < 1e-5 < 1e-3 < after, row
    assert comments.asked[-1] == ("POST", "/repos/nektos/act/issues/7/comments")
    caches = (repository.places / "caches.log").read_text().splitlines()
    first, kept, *_ = (line.split()[1] for line in caches if line.startswith("save "))
    assert first.startswith("gen3dexport-stages-Linux-") and kept.startswith("gen3dexport-report-")
    assert [line.rpartition(": ")[2] for line in caches if line.startswith("restore ")] == ["none", first, kept]


def test_a_mistake_keeps_its_exit_code(repository: Repository) -> None:
    workflow = repository.folder / ".github" / "workflows" / "bundles.yml"
    text = workflow.read_text()
    workflow.write_text(text.replace("recipe: [tiny.yaml]", "recipe: ['no; exit 0 #']"))
    try:
        with serving() as comments:
            passed, log = act(repository, comments, "push", {})
    finally:
        workflow.write_text(text)
    assert not passed and "exit-code=2" in log and "recipe 'no; exit 0 #': unknown" in log, log
    assert "junit=\n" in log and not (repository.places / "artifacts" / "no; exit 0 #-fast.yaml").exists()


def gitlab(repository: Repository, **variables: str) -> subprocess.CompletedProcess[str]:
    """The job's script in one shell that stops at the first error, as GitLab's runner does it."""
    job = YAML(typ="safe").load(GITLAB)["bundle"]
    lines = [line for line in job["script"] if "pip install" not in line]
    assert len(lines) == len(job["script"]) - 1
    own = {
        "RECIPE": "tiny.yaml",
        "TARGET": "fast.yaml",
        "BUNDLE": f"bundles/{NAME}",
        "CI_JOB_NAME": f"bundle: [{NAME}]",
    }
    environment = repository.environment(**own, **variables)
    script = "set -eo pipefail\n" + "\n".join(lines)
    return subprocess.run(
        ["bash", "-c", script], cwd=repository.folder, env=environment, capture_output=True, text=True
    )


def test_gitlab_compares_with_the_target_branch(repository: Repository, tiny_bundle: Path) -> None:
    (repository.folder / "ci").mkdir()
    shutil.copy(ROOT / "examples/ci/comment.py", repository.folder / "ci")
    recipe = RECIPE.replace("[first]", "[first, second]").replace("budgets:\n", "budgets:\n  size_mb: 0.1\n")
    (repository.folder / "tiny.yaml").write_text(recipe)
    api = "/api/v4/projects/5"
    with serving() as comments:
        place = f"{api}/jobs/artifacts/a%2Fbranch/raw/bundles/{NAME}/report.json"
        comments.files[place] = (tiny_bundle / "report.json").read_bytes()
        done = gitlab(
            repository,
            CI_API_V4_URL=f"{comments.address}/api/v4",
            CI_PROJECT_ID="5",
            CI_MERGE_REQUEST_IID="7",
            CI_MERGE_REQUEST_TARGET_BRANCH_NAME="a/branch",
            CI_JOB_TOKEN="job",
            GEN3DEXPORT_TOKEN="a-token",
            GEN3DEXPORT_CACHE=os.environ["GEN3DEXPORT_CACHE"],
        )
    assert done.returncode == 6, done.stdout + done.stderr  # the bundle is over the size that the recipe allows
    assert comments.asked[0][1].partition("?job=bundle%3A%20%5B")[0] == place
    (comment,) = comments.found
    assert comment["body"].splitlines()[1] == "**gen3dexport compare: pass**"
    assert comments.asked[-1] == ("POST", f"{api}/merge_requests/7/notes")
    assert (repository.folder / "bundles" / NAME / "junit.xml").is_file()
