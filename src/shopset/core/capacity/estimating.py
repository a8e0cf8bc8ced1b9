"""What a ShopSet bears, estimated from its requests against its saturation, with an interval that says how well that is known."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shopset.core.errors import ShopsetError

Floats = NDArray[np.float64]

CONFIDENCE: Final = 0.9
"""How often the interval has the truth in it."""
FULL: Final = 0.99
"""From here on saturation says only that it is full, not how many requests are too many."""
FAR: Final = 1.5
"""An estimate of more than so many times the most that was seen is told to be a guess."""
_FEWEST: Final = 12
_THINNED: Final = 300
_OUTLYING: Final = 6.0
"""Standard deviations from the line beyond which a sample is something else than noise."""
_OF_NORMAL: Final = 1.4826
"""The standard deviation of normal noise over its median absolute deviation."""
_SMALLEST_SCALE: Final = 1e-9


class InvalidSamplesError(ShopsetError):
    """Samples that cannot be measurements."""


@dataclass(frozen=True)
class Samples:
    """What was seen of one ShopSet, in order of time: requests per second, and saturation at the same moment."""

    requests: Floats
    saturation: Floats

    def __post_init__(self) -> None:
        if self.requests.shape != self.saturation.shape or self.requests.ndim != 1:
            raise InvalidSamplesError("each sample needs requests and a saturation")
        for name, values in (("requests", self.requests), ("saturation", self.saturation)):
            if not np.isfinite(values).all() or (values < 0).any():
                raise InvalidSamplesError(f"{name} of a sample are negative or no number")


@dataclass(frozen=True, slots=True)
class Estimate:
    """Requests per second at which a ShopSet is as full as it may be."""

    capacity: float
    low: float
    high: float
    """The interval that has the true one in it in nine of ten cases, where saturation grows in a line."""
    target: float
    """The saturation that is allowed."""
    at_rest: float
    """The saturation without a request, as the line has it."""
    seen: float
    """The most requests per second of any sample that counts."""
    samples: int
    """How many samples count."""

    @property
    def is_far(self) -> bool:
        """Whether it lies so far beyond what was seen that it is a guess."""
        return self.capacity > FAR * self.seen


@dataclass(frozen=True, slots=True)
class NoEstimate:
    """Why nothing can be said."""

    reason: str


def estimate(samples: Samples, target: float) -> Estimate | NoEstimate:
    """Estimate a capacity: where the line through the samples reaches `target` (above 0, at most 1).

    A line by least squares through the samples that are near one by Theil and Sen, so that single outliers do not turn
    it. The interval is Fieller's, with a covariance that allows for noise that grows with load (White's) and for samples
    that follow each other closely (the autocorrelation of the residuals).
    """
    clear = samples.saturation < FULL
    requests, saturation = samples.requests[clear], samples.saturation[clear]
    if len(requests) < _FEWEST:
        full = len(samples.requests) - len(requests)
        more = f" ({full} more say only that it was full)" if full else ""
        return NoEstimate(f"{len(requests)} samples{more}: at least {_FEWEST} are needed")
    near = _near_the_line(requests, saturation)
    requests, saturation = requests[near], saturation[near]
    if len(requests) < _FEWEST or float(np.ptp(requests)) <= 0:
        return NoEstimate("its requests did not vary, so what one more takes is not seen")
    scale = float(requests.max())
    line = _Line.fit(requests / scale, saturation)
    if line.independent < _FEWEST / 2:
        return NoEstimate(f"its {len(requests)} samples follow each other too closely: look at a longer time")
    bounds = line.reaching(target)
    if bounds is None:
        return NoEstimate("its saturation does not grow with its requests beyond the noise")
    if line.at_rest >= target or bounds[1] <= 0:
        return NoEstimate(f"its saturation is {line.at_rest:.2f} at rest, and {target:g} is allowed")
    low, high = bounds
    best = (target - line.at_rest) / line.slope
    return Estimate(best * scale, max(low, 0.0) * scale, high * scale, target, line.at_rest, scale, len(requests))


@dataclass(frozen=True, slots=True)
class _Line:
    """Saturation = at_rest + slope x requests, with the covariance of the two."""

    at_rest: float
    slope: float
    covariance: Floats
    independent: float
    """How many independent samples would tell as much."""

    @classmethod
    def fit(cls, requests: Floats, saturation: Floats) -> "_Line":
        design = np.column_stack([np.ones_like(requests), requests])
        inverse = np.linalg.pinv(design.T @ design)
        at_rest, slope = inverse @ design.T @ saturation
        residuals = saturation - at_rest - slope * requests
        leverage = np.clip(((design @ inverse) * design).sum(axis=1), 0.0, 0.99)
        scores = design * (residuals / (1 - leverage))[:, None]
        inflation = _inflation(residuals)
        covariance = inverse @ (scores.T @ scores) @ inverse * inflation
        return cls(float(at_rest), float(slope), covariance, len(requests) / inflation)

    def reaching(self, target: float) -> tuple[float, float] | None:
        """Return between which requests it reaches `target`; None where the slope may be none at all."""
        squared = _quantile(self.independent - 2) ** 2
        (of_rest, of_both), (_, of_slope) = self.covariance
        above = target - self.at_rest
        square = self.slope**2 - squared * of_slope
        if self.slope <= 0 or square <= 1e-12 * self.slope**2:
            return None
        linear = above * self.slope + squared * of_both
        root = math.sqrt(max(linear**2 - square * (above**2 - squared * of_rest), 0.0))
        return float((linear - root) / square), float((linear + root) / square)


def _near_the_line(requests: Floats, saturation: Floats) -> NDArray[np.bool_]:
    """Return which samples are near the line whose slope is the median of those of all pairs."""
    step = -(-len(requests) // _THINNED)
    some, of_some = requests[::step], saturation[::step]
    one, other = np.triu_indices(len(some), 1)
    apart = some[other] - some[one]
    different = np.abs(apart) > 0
    if not different.any():
        return np.ones(len(requests), bool)
    slope = float(np.median((of_some[other] - of_some[one])[different] / apart[different]))
    residuals = saturation - slope * requests
    residuals -= np.median(residuals)
    spread = max(_OF_NORMAL * float(np.median(np.abs(residuals))), _SMALLEST_SCALE)
    near: NDArray[np.bool_] = np.abs(residuals) <= _OUTLYING * spread
    return near


def _inflation(residuals: Floats) -> float:
    """Return by how much the variance grows because each sample resembles the one before it."""
    whole = float(residuals @ residuals)
    if whole <= _SMALLEST_SCALE**2 * len(residuals):
        return 1.0
    correlation = min(max(float(residuals[1:] @ residuals[:-1]) / whole, 0.0), 0.99)
    return (1 + correlation) / (1 - correlation)


def _quantile(freedom: float) -> float:
    """Return the quantile of Student's t for both sides of CONFIDENCE (Cornish and Fisher's expansion of the normal one)."""
    z, v = NormalDist().inv_cdf((1 + CONFIDENCE) / 2), max(freedom, 1.0)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / v + second / v**2 + third / v**3
