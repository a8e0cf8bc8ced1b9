"""The Shops as an API server holds them, read once. Whoever follows them is `shopset.kube.following`."""

from dataclasses import replace

from lightkube import Client

from shopset.api import Shop
from shopset.core.fleets import Problem
from shopset.core.placement.tables import Table, from_resources
from shopset.kube.fleets import list_manifests, parse


def read_shops(client: Client, namespace: str) -> Table:
    """Read the Shops of a namespace; one that cannot be read is there all the same. Raises KubeError."""
    manifests = list_manifests(client, namespace, (Shop.__name__,))
    found = [parse(each) for each in manifests if not each["metadata"].get("deletionTimestamp")]
    shops = [each for each in found if isinstance(each, Shop)]
    unread = frozenset(each.resource.partition("/")[2] for each in found if isinstance(each, Problem))
    return replace(from_resources(shops), unread=unread)
