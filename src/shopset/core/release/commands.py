"""The shell commands by which a person does what an action does: the same trees, with git and kubectl alone."""

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from shopset.api.platforms import ArgoCd
from shopset.core.fleets import Fleet
from shopset.core.release._patches import patch
from shopset.core.release.actions import (
    Action,
    AnyAction,
    ApplyApplication,
    Commit,
    DeleteApplication,
    OnApplication,
    PushCommits,
    PushMerge,
    PushRefs,
    RefreshApplication,
    SyncApplication,
)
from shopset.core.release.observed import Repository

REFRESH: Final = ("argocd.argoproj.io/refresh", "normal")
"""The annotation that lets Argo CD compare an Application with git at once."""
SYNC: Final[dict[str, Any]] = {
    "operation": {
        "initiatedBy": {"username": "shopset"},
        "sync": {"prune": True, "syncOptions": ["CreateNamespace=true"]},
    }
}
"""What an Application is patched with to start a sync."""
_FOLDER: Final = ("folder=$(mktemp -d)", """trap 'rm -rf "$folder"' EXIT""", 'cd "$folder"')


@dataclass(frozen=True)
class Places:
    """Where things are, as a person would name them in a shell."""

    urls: dict[Repository, str]
    applications: str
    """Folder of the directory clusters; empty where Argo CD delivers."""
    namespace: str = "argocd"
    """Namespace of Argo CD's Applications."""
    kubeconfig: str | None = None
    """The file by which kubectl finds Argo CD's cluster; None for its own choice."""
    context: str | None = None
    """The context of Argo CD's cluster; None for the current one."""
    contexts: Mapping[str, str] = field(default_factory=dict)
    """Cluster -> context, where each cluster has an Argo CD of its own."""

    @classmethod
    def of(cls, fleet: Fleet, folder: str, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Return the places of a fleet. `folder` is what a relative path of a directory delivery is relative to.

        `kubeconfig` and `context` lead to the cluster of the fleet's objects.
        """
        platform = fleet.platform
        urls = {repository: str(getattr(platform.spec.repositories, repository.value)) for repository in Repository}
        delivery = platform.spec.delivery
        if delivery.directory is None:
            argocd = delivery.argocd or ArgoCd()
            clusters = fleet.clusters if platform.has_argocd_per_cluster else {}
            contexts = {name: cluster.context for name, cluster in clusters.items()}
            return cls(urls, "", argocd.namespace, kubeconfig, context, contexts)
        path = delivery.directory.path
        return cls(urls, path if path.startswith("/") else f"{folder.rstrip('/')}/{path}")

    def kubectl(self, cluster: str) -> str:
        """Return kubectl with the options that lead to the Argo CD of a cluster."""
        options = (("--kubeconfig", self.kubeconfig), ("--context", self.contexts.get(cluster, self.context)))
        return shlex.join(("kubectl", *(f"{option}={value}" for option, value in options if value)))


def script(actions: Iterable[AnyAction], places: Places) -> str:
    """Return a bash script that does all the actions in their order, from clones in a folder of its own, which goes with it."""
    actions = tuple(actions)
    lines = ["set -euo pipefail", *_FOLDER, *_clones(actions, places)]
    moved: set[str] = set()
    for action in actions:
        reasons = (f"#   because {reason}" for reason in action.why)
        lines += ["", f"# {action.what}", *reasons, *commands(action, places, frozenset(moved))]
        if isinstance(action, PushCommits):
            moved |= {commit.branch for commit in action.commits}
    return "\n".join(lines) + "\n"


def commands(action: AnyAction, places: Places, moved: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the commands of one action, to be run beside clones of the repositories (`system`, `apps`, `configuration`).

    `moved` has the branches on which earlier commands of the same script committed.
    """
    match action:
        case PushCommits():
            return tuple(_push_commits(action, moved))
        case PushRefs():
            refspecs = " ".join(f"{update.commit}:{update.ref}" for update in action.updates)
            return (f"git -C {action.repository} push -q --atomic origin {refspecs}",)
        case PushMerge():
            return tuple(_push_merge(action))
        case ApplyApplication():
            return tuple(_apply(action, places))
        case OnApplication():
            return (_on_application(action, places),)


def _clones(actions: Iterable[AnyAction], places: Places) -> Iterator[str]:
    needed = {repository for action in actions if (repository := _repository_of(action))}
    for repository in sorted(needed):
        yield f"git clone -q --no-checkout -- {shlex.quote(places.urls[repository])} {repository}"


def _repository_of(action: AnyAction) -> Repository | None:
    match action:
        case PushRefs() | PushMerge():
            return action.repository
        case PushCommits() | ApplyApplication():
            return Repository.SYSTEM
        case OnApplication():
            return None


def _push_commits(action: PushCommits, moved: frozenset[str]) -> Iterator[str]:
    yield "cd system && git fetch -q origin"
    for commit in action.commits:
        yield _switch(commit, moved)
        yield from _commit(action, commit)
    yield f"git push -q --atomic origin {' '.join(commit.branch for commit in action.commits)}"
    yield "cd .."


def _switch(commit: Commit, moved: frozenset[str]) -> str:
    # On top of exactly what the plan saw: where the branch has moved since, the push must lose.
    if commit.branch in moved:
        return f"git switch -q {commit.branch}"
    if commit.parent is None:
        return f"git switch -q --orphan {commit.branch}"
    return f"git switch -q -C {commit.branch} {commit.parent}"


def _commit(action: Action, commit: Commit) -> Iterator[str]:
    if commit.deletes:
        yield f"git rm -rqf --ignore-unmatch -- {' '.join(map(shlex.quote, commit.deletes))}"
    yield from _writes(commit)
    for path, target in sorted(commit.gitlinks.items()):
        yield f"git update-index --add --cacheinfo 160000,{target},{path}"
    author, message = shlex.quote(str(action.author)), shlex.quote(commit.message)
    yield f"git commit -q --allow-empty --author={author} --date={shlex.quote(action.at.isoformat())} -m {message}"


def _writes(commit: Commit) -> Iterator[str]:
    if commit.before is not None:
        patches = b"".join(
            patch(path, commit.before.get(path), content) for path, content in sorted(commit.writes.items())
        )
        if patches:
            # Lines of patches begin with a sign, so that none ends the document.
            yield f"git apply --index --whitespace=nowarn <<'END-OF-FILE'\n{patches.decode()}END-OF-FILE"
        return
    for path, content in sorted(commit.writes.items()):
        yield from _write(path, content)
    if commit.writes:
        yield f"git add -f -- {' '.join(map(shlex.quote, sorted(commit.writes)))}"


def _write(path: str, content: bytes) -> Iterator[str]:
    quoted = shlex.quote(path)
    folder = path.rpartition("/")[0]
    if folder:
        yield f"mkdir -p {shlex.quote(folder)}"
    yield f"cat > {quoted} <<'END-OF-FILE'\n{content.decode()}END-OF-FILE"


def _push_merge(action: PushMerge) -> Iterator[str]:
    clone, name, email = (
        f"git -C {action.repository}",
        shlex.quote(action.author.name),
        shlex.quote(action.author.email),
    )
    identity = f"GIT_AUTHOR_NAME={name} GIT_AUTHOR_EMAIL={email} GIT_AUTHOR_DATE={shlex.quote(action.at.isoformat())}"
    parents = " ".join(f"-p {parent}" for parent in action.parents)
    tree = shlex.quote(action.tree_of + "^{tree}")
    yield f"merged=$({identity} {clone} commit-tree {tree} {parents} -m {shlex.quote(action.subject)})"
    refs = f'"$merged":refs/heads/{action.branch}'
    if action.pending:
        # The three-way merge of what was overtaken and the fix; where it conflicts, it is for a person to do.
        both = " ".join(action.parents)
        yield f"if tree=$({clone} merge-tree --write-tree {both} 2>/dev/null); then"
        yield f'  pending=$({identity} {clone} commit-tree "$tree" -p "$merged" -m {shlex.quote(pending_subject(action))})'
        yield f'  {clone} push -q --atomic origin {refs} "$pending":refs/heads/{action.pending}'
        yield f"else {clone} push -q --atomic origin {refs}; fi"
    else:
        yield f"{clone} push -q --atomic origin {refs}"


def pending_subject(action: PushMerge) -> str:
    """Return the subject of the commit that brings back what a hotfix overtook."""
    return f"bring back what the hotfix overtook: {action.subject}"


def _apply(action: ApplyApplication, places: Places) -> Iterator[str]:
    show = f"git -C system show {action.blob}"
    yield "git -C system fetch -q origin"
    if not places.applications:
        yield f"{show} | {places.kubectl(action.cluster)} apply --server-side --force-conflicts --field-manager=shopset -f -"
        return
    folder = f"{places.applications}/{action.cluster}/applications"
    yield f"mkdir -p {shlex.quote(folder)}"
    yield f"{show} > {shlex.quote(f'{folder}/{action.application}.yaml')}"


def _on_application(action: RefreshApplication | SyncApplication | DeleteApplication, places: Places) -> str:
    match action:
        case RefreshApplication():
            return f"{_kubectl(action, places, 'annotate')} --overwrite {REFRESH[0]}={REFRESH[1]}"
        case SyncApplication():
            return f"{_kubectl(action, places, 'patch')} --type merge -p {shlex.quote(json.dumps(SYNC))}"
        case DeleteApplication():
            return _delete(action, places)


def _kubectl(action: OnApplication, places: Places, verb: str) -> str:
    return (
        f"{places.kubectl(action.cluster)} {verb} applications.argoproj.io -n {places.namespace} {action.application}"
    )


def _delete(action: DeleteApplication, places: Places) -> str:
    if not places.applications:
        return _kubectl(action, places, "delete")
    return f"rm -f {shlex.quote(f'{places.applications}/{action.cluster}/applications/{action.application}.yaml')}"
