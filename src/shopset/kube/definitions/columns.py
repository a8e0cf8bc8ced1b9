"""What `kubectl get` shows of each kind, and what people may call it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple


class Column(NamedTuple):
    """A column of `kubectl get`; those that are not `main` are shown with `-o wide`."""

    name: str
    path: str
    type: Literal["string", "integer", "boolean", "date"] = "string"
    main: bool = True

    def definition(self) -> dict[str, Any]:
        """Return it as a CustomResourceDefinition has it."""
        wide = {} if self.main else {"priority": 1}
        return {"name": self.name, "jsonPath": self.path, "type": self.type, **wide}


_TIER: Final = Column("Tier", ".spec.tier")
_CONFIGURATION: Final = Column("Configuration", ".spec.configuration")
_REVISION: Final = Column("Revision", ".spec.revision")
_SHOPSETS: Final = Column("ShopSets", ".status.shopsets", "integer")
_ASKED: Final = (Column("By", ".spec.by"), Column("Reason", ".spec.reason"))

COLUMNS: Final[Mapping[str, Sequence[Column]]] = {
    "Platform": (
        Column("System", ".spec.repositories.system"),
        Column("ArgoCD", ".spec.delivery.argocd.namespace"),
        Column("Images", ".spec.images.policy", main=False),
    ),
    "Tier": (
        Column("Level", ".spec.level", "integer"),
        Column("Phase", ".status.phase"),
        Column("Pinned", ".status.pinned"),
        Column("Candidate", ".status.candidate"),
        Column("Mode", ".spec.promotion.mode", main=False),
        Column("Bake", ".spec.promotion.bake", main=False),
    ),
    "Configuration": (Column("Path", ".spec.path"), _SHOPSETS),
    "Cluster": (
        Column("Wish", ".spec.wish"),
        Column("State", ".status.state"),
        Column("Version", ".status.version"),
        _SHOPSETS,
        Column("Region", ".spec.topology.region", main=False),
    ),
    "FailureDomain": (Column("Key", ".spec.topologyKey"), Column("Domains", ".status.domains", main=False)),
    "ShopSet": (
        _TIER,
        _CONFIGURATION,
        Column("Cluster", ".spec.cluster"),
        Column("Revision", ".status.revision"),
        Column("Sync", ".status.sync"),
        Column("Health", ".status.health"),
        Column("Ready", ".status.ready", "boolean"),
        Column("Shops", ".status.shops", "integer"),
        Column("Load", ".status.load"),
        Column("Dedicated", ".spec.dedicated", "boolean", main=False),
    ),
    "ShopClass": (
        _TIER,
        _CONFIGURATION,
        Column("Replicas", ".spec.replicas", "integer"),
        Column("Across", ".spec.across", main=False),
    ),
    "Shop": (
        Column("Class", ".spec.class"),
        Column("Host", ".spec.hosts[0]"),
        Column("Replicas", ".status.replicas", main=False),
    ),
    "Approval": (_TIER, _REVISION, *_ASKED),
    "Hold": (_TIER, *_ASKED),
    "Rollback": (_TIER, _REVISION, *_ASKED),
}
"""Kind -> its columns between Name and Age."""

SHORT_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "Configuration": ("ssconf",),
    "Cluster": ("sscluster",),
    "FailureDomain": ("fdom",),
    "ShopSet": ("ss",),
    "ShopClass": ("shopc",),
}
"""Kind -> short names that neither Kubernetes, Argo CD nor Cluster API has; `clusters` alone is Cluster API's too."""
