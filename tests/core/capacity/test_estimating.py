"""What a ShopSet bears: the truth is in the interval as often as is said, and nothing is made up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.capacity.estimating import (
    CONFIDENCE,
    Estimate,
    Floats,
    InvalidSamplesError,
    NoEstimate,
    Samples,
    estimate,
)

TARGET = 0.8
RUNS = 300


def simulated(
    seed: int,
    count: int,
    noise: float,
    at_rest: float = 0.1,
    slope: float = 0.001,
    resembling: float = 0.0,
    growing: bool = False,
    outliers: float = 0.0,
    busiest: float = 0.7,
) -> Samples:
    """Some days of a ShopSet whose saturation is at_rest + slope x requests + noise."""
    random = np.random.default_rng(seed)
    capacity = (TARGET - at_rest) / slope
    day = 0.55 + 0.45 * np.sin(np.linspace(0, 14 * math.pi, count))
    requests = capacity * busiest * day * random.uniform(0.9, 1.1, count)
    errors = random.normal(size=count)
    for index in range(1, count):
        errors[index] = resembling * errors[index - 1] + math.sqrt(1 - resembling**2) * errors[index]
    saturation = at_rest + slope * requests + noise * errors * (requests / capacity if growing else 1)
    other = random.random(count) < outliers
    saturation[other] += random.uniform(0.3, 0.8, other.sum())
    return Samples(requests, np.clip(saturation, 0, None))


@pytest.mark.parametrize(
    "shape",
    [
        {"count": 200, "noise": 0.03},
        {"count": 50, "noise": 0.05},
        {"count": 500, "noise": 0.05, "resembling": 0.8},
        {"count": 200, "noise": 0.08, "growing": True},
        {"count": 300, "noise": 0.03, "outliers": 0.05},
        {"count": 300, "noise": 0.04, "busiest": 0.2},
    ],
    ids=["usual", "few", "each like the one before", "noisier under load", "with outliers", "far from full"],
)
def test_the_truth_is_in_the_interval_about_nine_times_in_ten(shape: dict[str, float]) -> None:
    found = [estimate(simulated(seed, **shape), TARGET) for seed in range(RUNS)]  # type: ignore[arg-type]
    inside = [each.low <= 700 <= each.high for each in found if isinstance(each, Estimate)]
    assert len(inside) == RUNS
    # Three standard deviations of a share of RUNS, and what little the approximations cost.
    assert CONFIDENCE - 0.07 <= sum(inside) / RUNS <= CONFIDENCE + 0.06


def width(samples: Samples) -> float:
    found = estimate(samples, TARGET)
    assert isinstance(found, Estimate)
    return found.high - found.low


def test_more_samples_tell_more() -> None:
    widths = [np.mean([width(simulated(seed, count, 0.04)) for seed in range(20)]) for count in (50, 200, 800)]
    assert widths[0] > 1.7 * widths[1] > 1.7**2 * widths[2]


@given(st.floats(0, 0.5), st.floats(1e-5, 1), st.floats(0.1, 0.95), st.floats(0.6, 1), st.integers(20, 60))
def test_without_noise_it_is_exact(at_rest: float, slope: float, busiest: float, target: float, count: int) -> None:
    most = (min(target, 0.98) - at_rest) / slope * busiest
    requests = np.linspace(0.1, 1, count) * most
    found = estimate(Samples(requests, at_rest + slope * requests), target)
    assert isinstance(found, Estimate)
    truth = (target - at_rest) / slope
    assert math.isclose(found.capacity, truth, rel_tol=1e-6)
    assert found.is_far == (found.capacity > 1.5 * most)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 2)), max_size=60),
    st.floats(0.05, 1),
)
def test_whatever_was_measured_nothing_is_negative_or_infinite(found: list[tuple[float, float]], target: float) -> None:
    requests, saturation = (np.array([each[column] for each in found], float) for column in (0, 1))
    made = estimate(Samples(requests, saturation), target)
    if isinstance(made, Estimate):
        assert 0 <= made.low <= made.capacity * (1 + 1e-9)
        assert made.capacity <= made.high * (1 + 1e-9) < math.inf
        assert made.capacity > 0
    else:
        assert made.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_what_is_no_measurement_is_refused(bad: float) -> None:
    good = np.linspace(1, 2, 20)
    for samples in ((np.append(good, bad), np.append(good, 0.5)), (np.append(good, 1.0), np.append(good / 4, bad))):
        with pytest.raises(InvalidSamplesError, match="negative or no number"):
            Samples(*samples)
    with pytest.raises(InvalidSamplesError, match="needs requests and a saturation"):
        Samples(good, good[1:])


def constant(value: float, count: int = 50) -> Floats:
    return np.full(count, value)


@pytest.mark.parametrize(
    ("requests", "saturation", "words"),
    [
        (constant(5, 3), constant(0.5, 3), "3 samples: at least 12"),
        (constant(5), constant(1.0), "0 samples (50 more say only that it was full)"),
        (constant(5), constant(0.5), "did not vary"),
        (np.linspace(1, 100, 50), 0.5 + 0.1 * np.sin(np.arange(50) * 9.0), "does not grow"),
        (np.linspace(1, 100, 50), np.linspace(0.9, 0.1, 50), "does not grow"),
        (np.linspace(1, 100, 50), np.linspace(0.85, 0.95, 50), "0.85 at rest"),
        (np.linspace(1, 100, 500), np.linspace(0.1, 0.5, 500) + 0.3 * np.sin(np.linspace(0, 6, 500)), "too closely"),
    ],
)
def test_why_nothing_can_be_said(requests: Floats, saturation: Floats, words: str) -> None:
    found = estimate(Samples(requests, saturation), TARGET)
    assert isinstance(found, NoEstimate), found
    assert words in found.reason


def test_far_beyond_what_was_seen_is_a_guess() -> None:
    near, far = (estimate(simulated(3, 300, 0.01, busiest=busiest), TARGET) for busiest in (0.8, 0.3))
    assert isinstance(near, Estimate)
    assert isinstance(far, Estimate)
    assert (near.is_far, far.is_far) == (False, True)
    assert far.high - far.low > near.high - near.low
