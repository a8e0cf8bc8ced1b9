"""Requests and saturation on a real Prometheus whose past is written."""

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from gates.histories import INTERVAL, Recorded, history, yesterday
from shopset.api.platforms import Monitoring, Saturation
from shopset.core.capacity.estimating import Estimate, Samples, estimate
from shopset.gates import Target
from shopset.gates.answers import UnknownError
from shopset.gates.prometheus import Span
from shopset.gates.saturation import read_saturation

DAWN = yesterday()
LENGTH = timedelta(hours=2)
TARGETS = [Target("a-1", "shopset-a-1", "a"), Target("b-1", "shopset-b-1", "b"), Target("d-1", "shopset-d-1", "d")]
BEARS = {"shopset-a-1": 400.0, "shopset-b-1": 1000.0, "shopset-c-1": 77.0}
"""Requests per second at which each is at 0.8, of which it has 0.05 at rest."""


def past() -> Iterator[Recorded]:
    random = np.random.default_rng(7)
    for index in range(LENGTH // INTERVAL + 1):
        at = DAWN + index * INTERVAL
        for namespace, bears in BEARS.items():
            requests = bears * (0.4 + 0.35 * math.sin(index / 40))
            full = 0.05 + 0.75 * requests / bears + float(random.normal(0, 0.01))
            for half in ("x", "y"):
                yield Recorded("requests", {"namespace": namespace, "pod": half}, at, at, requests / 2)
            yield Recorded("full", {"namespace": namespace, "of": "processors"}, at, at, full)
            yield Recorded("full", {"namespace": namespace, "of": "memory"}, at, at, 0.04)
        yield Recorded("nothing", {"namespace": "shopset-b-1"}, at, at, math.nan)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with history(tmp_path_factory.mktemp("saturation"), list(past())) as (url, _):
        yield url


def read(url: str, requests: str, saturation: str) -> dict[str, Samples]:
    monitoring = Monitoring.model_validate({"prometheus": {"url": url}, "timeout": "30s"})
    wanted = Saturation(requests=requests, saturation=saturation)
    span = Span(DAWN, DAWN + LENGTH)
    return dict(read_saturation(wanted, "prod", TARGETS, span, monitoring, Path))


HERE = '{namespace=~"{namespace}"}'


@pytest.mark.parametrize(
    ("requests", "saturation"),
    [
        (f"sum by (namespace) (requests{HERE})", f"max by (namespace) (full{HERE})"),
        (f"requests{HERE}", f"full{HERE}"),
        ("requests", "full"),
        (
            f'label_replace(sum by (namespace) (requests{HERE}), "shopset", "$1", "namespace", "shopset-(.*)")',
            f"max by (namespace) (full{HERE})",
        ),
    ],
)
def test_what_each_bears_is_found_again(prometheus: str, requests: str, saturation: str) -> None:
    found = read(prometheus, requests, saturation)
    assert sorted(found) == ["a-1", "b-1", "d-1"]
    for target in TARGETS[:2]:
        made = estimate(found[target.shopset], 0.8)
        assert isinstance(made, Estimate)
        truth = BEARS[target.namespace]
        assert abs(made.capacity - truth) < 0.02 * truth
        assert made.low * 0.99 < truth < made.high * 1.01
        assert len(found[target.shopset].requests) > 400


def test_what_was_not_recorded_has_no_samples(prometheus: str) -> None:
    found = read(prometheus, f"requests{HERE}", f"nothing{HERE}")
    assert [len(found[name].requests) for name in ("a-1", "b-1", "d-1")] == [0, 0, 0]


def test_a_moment_with_a_negative_value_is_left_out(prometheus: str) -> None:
    whole = read(prometheus, f"requests{HERE}", f"full{HERE}")["a-1"]
    some = read(prometheus, f"requests{HERE} - 80", f"full{HERE}")["a-1"]
    assert 0 < len(some.requests) < len(whole.requests)


def test_series_that_are_nobodys_are_refused_with_what_to_write(prometheus: str) -> None:
    with pytest.raises(UnknownError, match=r"requests of spec\.placement\.saturation .* sum by \(namespace\)"):
        read(prometheus, f"sum(requests{HERE})", f"full{HERE}")


def test_what_prometheus_says_is_told(prometheus: str) -> None:
    with pytest.raises(UnknownError, match="Prometheus answers 400"):
        read(prometheus, f"requests{HERE}", "sum(")
