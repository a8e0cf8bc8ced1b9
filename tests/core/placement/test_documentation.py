"""What docs/placement.md shows is what the models take and what the planner says."""

import ast
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import yaml

from shopset.api.failure_domains import FailureDomainSpec
from shopset.api.platforms import Placement
from shopset.api.shops import ShopClassSpec
from shopset.core.placement import _conditions, facts

PAGE = (Path(__file__).parents[3] / "docs" / "placement.md").read_text()


def test_the_examples_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    shop_class, domain, platform = (each["spec"] for block in blocks for each in yaml.safe_load_all(block))
    assert ShopClassSpec.model_validate(shop_class).replicas == 2
    assert FailureDomainSpec.model_validate(domain).topology_key == "provider"
    assert Placement.model_validate(platform["placement"]) == Placement(), "they are called the defaults"


def test_every_condition_is_explained() -> None:
    table = PAGE.partition("## Conditions")[2].partition("\n## ")[0]
    reasons = set(_reasons())
    assert len(reasons) > 5
    assert {reason for reason in reasons if f"`{reason}`" not in table} == set()


def _reasons() -> Iterator[str]:
    """Yield the reasons of all conditions of the planner: constants with which one is made, or that a condition chooses from."""
    trees = [ast.parse(Path(each).read_text()) for each in (_conditions.__file__, facts.__file__)]
    for node in chain.from_iterable(map(ast.walk, trees)):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"(?:[A-Z][a-z]+){2,}", node.value)
        ):
            yield node.value
