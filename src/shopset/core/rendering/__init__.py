"""Renderers: pure functions from the fleet to the files of a tier. Each version's bytes are frozen once released."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from shopset.api import Platform, ShopSet, Tier
from shopset.core.fleets import Fleet
from shopset.core.rendering import _v1


class Renderer(Protocol):
    """One version of the rules by which a tier's files are written."""

    def tier_files(self, platform: Platform, tier: Tier) -> Mapping[str, bytes]:
        """Return the files that do not belong to one ShopSet: `.gitmodules` (path -> content)."""
        ...

    def overlay(self, fleet: Fleet, tier: Tier, shopset: ShopSet, components: Sequence[str]) -> bytes:
        """Return `overlays/<shopset>/kustomization.yaml`. `components` is `("",)` for a base with a root kustomization."""
        ...

    def application(self, fleet: Fleet, tier: Tier, shopset: ShopSet) -> bytes:
        """Return `applications/<shopset>.yaml`."""
        ...


RENDERERS: Final[Mapping[str, Renderer]] = {"v1": _v1.RendererV1()}
"""The current renderer and the one before it: what is pinned may need either."""
CURRENT: Final = "v1"
