"""What is left of a build, by the times of the one before."""

from __future__ import annotations

from pathlib import Path

import pytest

from gen3dexport.cli.time_left import TimeLeft


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEN3DEXPORT_CACHE", str(tmp_path))


def begun(clock: Clock) -> TimeLeft:
    return TimeLeft("recipe-target", clock)


def build(clock: Clock) -> None:
    """flow 4 + 16 s, decoder 2 + 8 s beside it, so 20 of 30; then 30 s of validation."""
    left = begun(clock)
    for at, component, stage in (
        *((0, "flow", "observe"), (4, "flow", "lower"), (4, "decoder", "observe"), (6, "decoder", "lower")),
        *((14, "decoder", "done"), (20, "flow", "done"), (20, "bundle", "validate")),
    ):
        clock.seconds = at
        left.begins(component, stage)
    clock.seconds = 50
    left.keep()


def test_nothing_is_known_of_a_first_build() -> None:
    left = begun(Clock())
    left.begins("flow", "observe")
    assert left.seconds() is None and left.__rich__() == "flow: observe"


def test_it_counts_down_by_what_stages_took() -> None:
    clock = Clock()
    build(clock)
    clock.seconds = 100
    left = begun(clock)
    assert left.seconds() == pytest.approx(50)
    left.begins("flow", "observe")
    clock.seconds = 103
    assert left.seconds() == pytest.approx(50 - 3 * 20 / 30)
    clock.seconds = 150  # it takes longer than the last time
    assert left.seconds() == pytest.approx(30 + (16 + 10) * 20 / 30)
    left.begins("flow", "lower")
    left.begins("decoder", "observe")
    assert left.__rich__() == "flow: lower, decoder: observe; about 50 s left"
    for component in ("flow", "decoder"):
        left.begins(component, "done")
    left.begins("bundle", "validate")
    assert left.seconds() == pytest.approx(30)
    clock.seconds = 179
    assert left.__rich__() == "bundle: validate; about 10 s left"


def test_what_is_cached_takes_nothing_and_keeps_its_times() -> None:
    clock = Clock()
    build(clock)
    left = begun(clock)
    left.begins("flow", "cached")
    left.begins("flow", "done")
    assert left.seconds() == pytest.approx(30 + 10 * 20 / 30)
    for stage in ("observe", "done"):
        left.begins("decoder", stage)
    left.keep()
    assert begun(clock).seconds() == pytest.approx(20 * 20 / 30 + 0 + 30)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b'{"seconds": 3, "side_by_side": 1}',
        b'{"seconds": {"flow": {"lower": 1e400}}, "side_by_side": 1}',
    ],
)
def test_a_damaged_file_says_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "times").mkdir()
    (tmp_path / "times" / "recipe-target.json").write_bytes(content)
    assert begun(Clock()).seconds() is None


def test_a_wait_is_no_time_of_a_stage(tmp_path: Path) -> None:
    clock = Clock()
    build(clock)
    left = begun(clock)
    for at, component, stage in ((0, "flow", "wait"), (90, "flow", "cached"), (90, "flow", "done")):
        clock.seconds = 200 + at
        left.begins(component, stage)
    left.begins("decoder", "cached")
    left.keep()
    assert begun(clock).seconds() == pytest.approx(50)


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "times" / "recipe-target.json").mkdir(parents=True)
    build(Clock())
    assert begun(Clock()).seconds() is None
