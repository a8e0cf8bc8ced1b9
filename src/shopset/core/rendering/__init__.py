"""Renderers: pure functions from the fleet to the files of a tier. Each version's bytes are frozen once released."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from shopset.api import Platform, ShopSet, Tier
from shopset.core.fleets import Fleet
from shopset.core.rendering._v1 import RendererV1

__all__ = ["RENDERERS", "Renderer", "RendererV1", "Renderers"]


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


@dataclass(frozen=True)
class Renderers:
    """The renderers that a release of shopset carries: the current one, and the one before it."""

    versions: Mapping[str, Renderer]
    current: str


RENDERERS: Final = Renderers(versions={"v1": RendererV1()}, current="v1")
