"""What docs/gates.md shows is what the models take."""

import re
from pathlib import Path

import yaml

from shopset.api import Gate
from shopset.api.platforms import Monitoring

PAGE = Path(__file__).parents[2] / "docs" / "gates.md"


def test_the_examples_are_valid() -> None:
    platform, tier, *gates = map(yaml.safe_load, re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL))
    Monitoring.model_validate(platform["spec"]["monitoring"])
    examples = [*tier["promotion"]["gates"], *(gate for group in gates for gate in group)]
    found = [Gate.model_validate(each) for each in examples]
    assert [next(kind for kind in each if kind != "name") for each in examples] == ["alerts", "query", "http", "smoke"]
    assert len(found) == 4
