"""Connecting a fleet with everything that works on it, for whichever shell."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shopset.core.release.actions import SHOPSET
from shopset.core.release.commands import Places
from shopset.engine.building import CachingBuilder
from shopset.engine.engines import Engine
from shopset.engine.ports import GateReader
from shopset.gitops import Remotes
from shopset.manifests import Kustomize, find_kustomize


@dataclass(frozen=True)
class Tools:
    """What all parts of a workplace share. `environment` is what git and kustomize run with; `timeout` is in seconds."""

    cache: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60
    kustomize: str | None = None
    """The program, where it is not to be looked for on the PATH."""


@dataclass(frozen=True)
class Workshop:
    """The repositories and the builder, which every delivery needs."""

    remotes: Remotes
    builder: CachingBuilder
    kustomize: Kustomize


def open_workshop(places: Places, tools: Tools) -> Workshop:
    """Connect the repositories. Raises KustomizeMissingError."""
    kustomize = Kustomize(find_kustomize(tools.kustomize), tools.environment, tools.timeout)
    remotes = Remotes(
        places.urls, tools.cache / "git", committer=SHOPSET, environment=tools.environment, timeout=tools.timeout
    )
    return Workshop(remotes, CachingBuilder(remotes, kustomize, tools.cache / "builds"), kustomize)


def make_gates(engine: Engine, hooks: Callable[[str], Iterable[Mapping[str, Any]]], secrets: Path | None) -> GateReader:
    """Return what reads the gates of an engine's fleet.

    `hooks` returns the PostSync hooks of a ShopSet as Argo CD has them; `secrets` is the folder with a folder for each Secret.
    """
    # Imported only where gates are read: a plan of folders must not pay for HTTP.
    from shopset.gates import Gates, Hook, Target  # noqa: PLC0415

    def targets(tier: str) -> tuple[Target, ...]:
        fleet = engine.fleet
        return tuple(Target(each.name, fleet.namespace(each.name), each.spec.cluster) for each in fleet.members(tier))

    return Gates(
        engine.fleet.platform.spec.monitoring,
        targets,
        lambda name: (secrets or Path("/nonexistent")) / name,
        lambda shopset: tuple(
            Hook(each.get("name", ""), each.get("hookPhase", ""), each.get("message", "")) for each in hooks(shopset)
        ),
    )


def credential_environment(folder: Path | None) -> dict[str, str]:
    """Return what lets git take its user and password from the files of a mounted Secret, anew at each use.

    The Secret is of the type kubernetes.io/basic-auth. Neither is ever in a URL, an argument or a variable.
    """
    if folder is None:
        return {}
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": _HELPER,
        "SHOPSET_GIT_CREDENTIALS": str(folder),
    }


_HELPER: Final = (
    '!f() { test "$1" = get && for key in username password; do '
    'printf "%s=%s\\n" "$key" "$(cat "$SHOPSET_GIT_CREDENTIALS/$key")"; done; }; f'
)
