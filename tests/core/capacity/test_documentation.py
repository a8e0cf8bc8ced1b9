"""What docs/capacity.md shows is what the models take."""

import re
from pathlib import Path

import yaml

from shopset.api.clusters import ClusterSpec
from shopset.api.configurations import ConfigurationSpec
from shopset.api.platforms import Monitoring, Placement
from shopset.api.shopsets import ShopSetSpec

PAGE = Path(__file__).parents[3] / "docs" / "capacity.md"


def test_the_examples_are_valid() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    shopset, cluster, configuration, platform = (each for block in blocks for each in yaml.safe_load_all(block))
    assert ShopSetSpec.model_validate(shopset["spec"]).capacity is not None
    assert ClusterSpec.model_validate(cluster["spec"]).capacity is not None
    assert ConfigurationSpec.model_validate(configuration["spec"]).databases[0].connections_per_shopset == 40
    Monitoring.model_validate(platform["spec"]["monitoring"])
    assert Placement.model_validate(platform["spec"]["placement"]).saturation is not None
