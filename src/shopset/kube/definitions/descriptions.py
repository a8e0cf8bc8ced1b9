"""What `kubectl explain` says of fields whose models leave it to their names."""

from collections.abc import Mapping
from typing import Final

DESCRIPTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("ArgoCd", "namespace"): "The namespace of the Applications, one that Argo CD watches.",
    ("ArgoCd", "project"): "Argo CD's project of the Applications.",
    ("Backoff", "duration"): "The first wait. As in 5s.",
    ("Backoff", "factor"): "How many times longer each wait is than the one before.",
    ("Backoff", "maxDuration"): "The longest wait. As in 3m.",
    ("Destination", "name"): "Its name in Argo CD; the Cluster's own name where name and server are left out.",
    ("Destination", "server"): "The URL of its API server, as Argo CD knows it.",
    ("Prefixes", "namespace"): "Of the namespaces of ShopSets.",
    ("Retry", "limit"): "How many times; none where it is 0.",
    ("ShopSource", "kind"): "Resources are objects of kind Shop, Files lie in git, PostgreSQL is a table.",
    ("ShopSource", "path"): "The folder, of kind Files.",
    ("ShopSource", "table"): "The table, of kind PostgreSQL.",
    ("Shops", "sources"): "All places where they come from.",
}
"""Model and field -> its description."""
