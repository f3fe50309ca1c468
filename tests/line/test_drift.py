"""Drift of a sampler's latent: trajectories from calls, signal to noise per step, and the report's plot."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from gen3dexport.pages import plots as report_plots
from gen3dexport.reports.report import read_report
from gen3dexport.trajectory import trajectory
from gen3dexport.validation.drift import snr_db


def test_a_guided_step_counts_once() -> None:
    latents = [np.full((1, 2), float(k)) for k in range(3)]
    times = [1000.0, 600.0]
    calls = [{"x": latents[0], "t": np.array([times[0]])}] * 2 + [{"x": latents[1], "t": np.array([times[1]])}]
    found = trajectory(calls, "x", "t", latents[2])
    assert found.shape == (3, 1, 2) and found[:, 0, 0].tolist() == [0, 1, 2]
    batched = [{"x": np.concatenate([x, x]), "t": np.array([t, t])} for x, t in zip(latents, times, strict=False)]
    np.testing.assert_array_equal(trajectory(batched, "x", "t", latents[2]), found)


def test_snr_is_that_of_the_noise() -> None:
    rng = np.random.default_rng(0)
    expected = rng.standard_normal((3, 50_000))
    found = expected + np.array([0, 0.1, 0.01])[:, None] * rng.standard_normal(expected.shape)
    ratios = snr_db(found, expected)
    assert ratios[0] is None
    assert ratios[1:] == pytest.approx([20, 40], abs=0.1)
    assert snr_db(np.full((1, 2), math.nan), np.ones((1, 2))) == [None]


def test_a_bundle_is_measured_step_by_step(half_bundle: Path) -> None:
    stored = load_file(half_bundle / "golden" / "flow.trajectory.safetensors")
    assert set(stored) == {"0.x.t", "1.x.t"} and len(stored["0.x.t"]) == 5
    drift = read_report(half_bundle).pipeline.drift
    assert set(drift) == {"flow"} and len(drift["flow"]) == 2
    for ratios in drift["flow"]:
        assert ratios[0] is None and len(ratios) == 5  # the same noise, then four steps
        assert all(20 < r < 100 for r in ratios[1:])
        assert ratios[-1] < ratios[1]  # what one step adds, the next ones carry
    assert read_report(half_bundle).to_json() == (half_bundle / "report.json").read_text()
    assert 'id="plot-drift"' in (half_bundle / "report.html").read_text()


def test_the_plot_leaves_out_what_is_equal() -> None:
    figure = report_plots.drift({"flow": [[None, 40.0, 30.0], [None, None, 20.0]]})
    assert figure is not None
    assert [trace["x"] for trace in figure["data"]] == [[1, 2], [2]]
    assert report_plots.drift({}) is None and report_plots.drift({"flow": [[None, None]]}) is None
