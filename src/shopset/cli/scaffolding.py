"""Scaffolding: the example platform's trees, a fleet's YAML, and three repositories with a first commit on the lowest tier."""

import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError

EXAMPLE: Final = Path(__file__).parent / "_platform"
REPOSITORIES: Final = ("shopset-system", "shopset-apps", "shopset-configuration")


class ScaffoldError(ShopsetError):
    """Something is in the way, or git failed."""


@dataclass(frozen=True)
class Copy:
    """A ShopSet of a scaffolded fleet."""

    name: str
    tier: str
    configuration: str
    cluster: str
    requests: float | None = None
    """Requests per second that it bears; None where nobody states it."""
    dedicated: bool = False
    endpoint: str = ""
    """Where its shops are reached; empty where that is what the Layout says."""


@dataclass(frozen=True)
class Layout:
    """What a scaffolded fleet consists of. `tiers` has the YAML lines of `spec.promotion`, for each tier from level 0 up."""

    parent: str
    """What the repositories lie under: a folder or a URL."""
    clusters: str
    """Folder of the directory clusters; empty where Argo CD delivers."""
    tiers: Mapping[str, Sequence[str]]
    configurations: Sequence[str]
    copies: Sequence[Copy]
    topology: Mapping[str, Mapping[str, str]]
    domains: Sequence[str] = ("cluster", "provider")
    """Levels at which clusters fail together: each is a key of the topology."""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """ShopClass -> the YAML lines of its spec."""
    placing: Sequence[str] = ()
    """YAML lines of the Platform's spec about shops: where they come from, how they are placed and reached."""
    endpoint: str = ""
    """Where the shops of a ShopSet are reached, with fields in braces: each Cluster has it. Empty where there is no edge."""
    more: Mapping[str, str] = field(default_factory=dict)
    """File name -> content of files besides."""

    def files(self) -> dict[str, str]:
        """Return file name -> content of the fleet's folder."""
        return {
            "platform.yaml": self._platform(),
            "tiers.yaml": "---\n".join(self._tier(level, name) for level, name in enumerate(self.tiers)),
            "configurations.yaml": "---\n".join(
                _object("Configuration", name, [f"path: {name}"]) for name in self.configurations
            ),
            "clusters.yaml": "---\n".join(self._cluster(name) for name in self.topology),
            "failure-domains.yaml": "---\n".join(
                _object("FailureDomain", key, [f"topologyKey: {key}"]) for key in self.domains
            ),
            "shopsets.yaml": shopsets(self.copies),
            **({"shop-classes.yaml": self._shop_classes()} if self.classes else {}),
            **self.more,
        }

    def _platform(self) -> str:
        repositories = zip(("system", "apps", "configuration"), REPOSITORIES, strict=True)
        urls = [f"  {key}: {self.parent}/{name}.git" for key, name in repositories]
        text = "# What the ShopSets are copies of, and how they are delivered.\n"
        delivery = ["delivery:", "  argocd: {}"]
        if self.clusters:
            text += "# The directory clusters stand in for Argo CD and Kubernetes.\n"
            delivery = ["delivery:", "  directory:", f"    path: {self.clusters}"]
        return text + _object("Platform", "shop", ["repositories:", *urls, *delivery, *self.placing])

    def _shop_classes(self) -> str:
        text = "# Conventions by which shops are placed: a shop names its class, and never a ShopSet.\n"
        return text + "---\n".join(_object("ShopClass", name, lines) for name, lines in self.classes.items())

    def _tier(self, level: int, name: str) -> str:
        promotion = ["promotion:", *(f"  {line}" for line in self.tiers[name])] if self.tiers[name] else []
        return _object("Tier", name, [f"level: {level}", *promotion])

    def _cluster(self, name: str) -> str:
        labels = [f"  {key}: {value}" for key, value in self.topology[name].items()]
        endpoint = [f"endpoint: {self.endpoint}"] if self.endpoint else []
        return _object("Cluster", name, ["topology:", *labels, *endpoint])


def _object(kind: str, name: str, spec: Sequence[str]) -> str:
    lines = "".join(f"  {line}\n" for line in spec)
    return f"apiVersion: shopset.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\nspec:\n{lines}"


def shopsets(copies: Sequence[Copy]) -> str:
    """Return the YAML of some ShopSets."""
    return "---\n".join(_shopset(copy) for copy in copies)


def _shopset(copy: Copy) -> str:
    fields = [f"tier: {copy.tier}", f"configuration: {copy.configuration}", f"cluster: {copy.cluster}"]
    if copy.requests is not None:
        fields += ["capacity:", f"  requestsPerSecond: {copy.requests}"]
    if copy.endpoint:
        fields.append(f"endpoint: {copy.endpoint}")
    if copy.dedicated:
        fields.append("dedicated: true")
    return _object("ShopSet", copy.name, fields)


def write_fleet(folder: Path, layout: Layout) -> list[Path]:
    """Write a fleet's folder and return its files. Raises ScaffoldError where one of them is there already."""
    files = {folder / name: content for name, content in layout.files().items()}
    present = [path for path in files if path.exists()]
    if present:
        raise ScaffoldError(f"{present[0]} is there already: name another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        path.write_text(content)
    return list(files)


def make_repositories(
    parent: Path, apps: Path, configuration: Path, environment: Mapping[str, str], branch: str = "tier-0"
) -> None:
    """Make three bare repositories; the trees of apps and configuration become the first commits of `branch`.

    Raises ScaffoldError where one of them is there already.
    """
    for name in REPOSITORIES:
        if (parent / f"{name}.git").exists():
            raise ScaffoldError(f"{parent / name}.git is there already: name another folder")
    for name, tree in zip(REPOSITORIES, (None, apps, configuration), strict=True):
        git(["init", "--quiet", "--bare", f"--initial-branch={branch}", str(parent / f"{name}.git")], None, environment)
        if tree is not None:
            first_commit(parent / f"{name}.git", tree, environment, branch)


def install_hook(repository: Path, command: Sequence[str]) -> None:
    """Let the repository check every push by `shopctl check-push`."""
    hook = repository / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nexec {shlex.join([*command, 'check-push'])}\n")
    hook.chmod(0o755)


def first_commit(repository: Path, tree: Path, environment: Mapping[str, str], branch: str) -> None:
    """Commit a folder as it is, and push it as the first commit of a branch."""
    work = repository.with_suffix(".first")
    try:
        shutil.copytree(tree, work, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        git(["init", "--quiet", f"--initial-branch={branch}"], work, environment)
        git(["add", "--all", "--force"], work, environment)
        git(["commit", "--quiet", "-m", "the platform as it is"], work, environment)
        git(["push", "--quiet", str(repository), f"HEAD:refs/heads/{branch}"], work, environment)
    except OSError as error:
        raise ScaffoldError(f"{tree} cannot be copied: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def git(arguments: Sequence[str], folder: Path | None, environment: Mapping[str, str]) -> str:
    """Run git as a developer would, and return its output. Raises ScaffoldError."""
    defaults = {"GIT_AUTHOR_NAME": "developer", "GIT_AUTHOR_EMAIL": "developer@example.com"}
    named = {key.replace("AUTHOR", role): value for key, value in defaults.items() for role in ("AUTHOR", "COMMITTER")}
    done = subprocess.run(
        ["git", "-c", "commit.gpgSign=false", *arguments],
        cwd=folder,
        env={**named, **environment},
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ScaffoldError(f"git {arguments[0]} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode(errors="replace")
