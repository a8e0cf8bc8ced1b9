"""What a command was told by its global options and the environment: the only place that reads the latter."""

import getpass
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Global options. Paths are as the user gave them."""

    fleet: Path = Path()
    cache: Path | None = None
    identity: str | None = None
    timeout: float = 60.0
    colour: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None

    @property
    def from_cluster(self) -> bool:
        """Whether the fleet is read from a cluster: where any of kubectl's options says which."""
        return any((self.kubeconfig, self.context, self.namespace))

    @property
    def secrets(self) -> Path | None:
        """The folder with a folder for each Secret that spec.monitoring names."""
        given = self.environment.get("SHOPSET_SECRETS")
        return Path(given) if given else None

    @property
    def kustomize(self) -> str | None:
        """The kustomize that the environment names."""
        return self.environment.get("SHOPSET_KUSTOMIZE") or None


def from_environment(
    fleet: Path | None,
    cache: Path | None,
    identity: str | None,
    timeout: float,
    *,
    no_colour: bool,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
) -> Settings:
    """Return the settings of one call: options first, then the environment, then defaults."""
    environment = dict(os.environ)
    given_cache = environment.get("SHOPSET_CACHE")
    return Settings(
        fleet=fleet or Path(environment.get("SHOPSET_FLEET") or "."),
        cache=cache or (Path(given_cache) if given_cache else None),
        identity=identity,
        timeout=timeout,
        colour=not no_colour and "NO_COLOR" not in environment and sys.stdout.isatty(),
        environment=environment,
        kubeconfig=kubeconfig,
        context=context,
        namespace=namespace,
    )


def who(settings: Settings) -> str:
    """Return `name <email>` of who asks: as told, or as git knows them, or as the system does."""
    if settings.identity:
        return settings.identity
    name, email = (_git_config(key, settings.environment) for key in ("user.name", "user.email"))
    user = getpass.getuser()
    return f"{name or user} <{email or f'{user}@localhost'}>"


def _git_config(key: str, environment: Mapping[str, str]) -> str:
    done = subprocess.run(["git", "config", "--get", key], env=dict(environment), capture_output=True, check=False)
    return done.stdout.decode(errors="replace").strip()
