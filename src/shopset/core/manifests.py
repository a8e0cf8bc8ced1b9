"""What a build of one ShopSet's overlay gave: values only; the adapter `shopset.manifests` makes them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class BuiltObject:
    """One Kubernetes object of a build, with the hash of its canonical JSON."""

    api_version: str
    kind: str
    namespace: str
    """Empty for a cluster-scoped object."""
    name: str
    digest: str

    @property
    def label(self) -> str:
        """The object as people name it: `Deployment/cart`."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Build:
    """The result of building one overlay: objects and images, or the problem that stopped it."""

    problem: str = ""
    transient: bool = False
    """Whether the problem is this machine's, and not the revision's: another try may give something else."""
    objects: tuple[BuiltObject, ...] = ()
    """Sorted."""
    images: tuple[str, ...] = ()
    """Sorted, without repeats, init and ephemeral containers included."""

    @property
    def cluster_scoped(self) -> tuple[BuiltObject, ...]:
        """The objects that belong to the whole cluster, not to the ShopSet's namespace."""
        return tuple(found for found in self.objects if not found.namespace)
