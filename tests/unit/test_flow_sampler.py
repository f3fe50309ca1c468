"""The flow sampler's steps: second order, reused guidance, given times."""

import numpy as np
import pytest
from flow_schedules import NOISE, SCHEDULES, TIMES, velocity

from gen3dexport.models.flow_sampler import Schedule, sample


def test_second_order_is_exact_where_the_velocity_is_linear_in_time() -> None:
    """x' = t from x(1) = 0: x(0) = -1/2, but for the first step, which is one of Euler's."""
    schedule = Schedule(5, 0.0, (0.0, 1.0), 1.0, step_times=TIMES, order=2)
    found = sample(lambda x, t, _: np.full_like(x, t / 1000), np.zeros(1), schedule)
    first = (1.0 - 0.8) * 1.0 - (1.0**2 - 0.8**2) / 2
    assert found == pytest.approx([-0.5 - first], abs=1e-12)


def test_second_order_comes_nearer_with_the_same_calls() -> None:
    exact = sample(velocity, NOISE, Schedule(2000, 2.0, (0.0, 1.0), 1.0))
    errors = [np.abs(sample(velocity, NOISE, Schedule(8, 2.0, (0.0, 1.0), 1.0, order=k)) - exact).max() for k in (1, 2)]
    assert errors[1] < 0.5 * errors[0]


def test_reused_guidance_calls_one_branch_and_takes_the_last_difference() -> None:
    schedule = SCHEDULES["reused guidance"]
    called: list[tuple[float, bool]] = []

    def constant(x: np.ndarray, t: float, conditional: bool) -> np.ndarray:
        called.append((t, conditional))
        return np.full_like(x, 2.0 if conditional else 0.5)

    found = sample(constant, NOISE, schedule)
    unguided = 0.1  # of the last step, below the interval
    assert [conditional for _, conditional in called] == [True, False, True, True, False, True, True]
    assert len(called) == schedule.calls
    np.testing.assert_allclose(found, NOISE - (1 - unguided) * (3 * 2.0 - 2 * 0.5) - unguided * 2.0, atol=1e-6)
