"""Writing the files of a state folder by hand: what the agent writes for a commit, without the agent."""

from shopset.core.errors import ShopsetError
from shopset.edge_agent.folders import Generation
from shopset.edge_agent.folding import fold, write_check
from shopset.edge_agent.following import Branch
from shopset.edge_agent.haproxies import Haproxy
from shopset.edge_agent.running import Given
from shopset.gitops.transport import GitError


def render(given: Given, branch: Branch, commit: str) -> Generation:
    """Write a generation and let it count. Without a commit it is the branch's head.

    Raises StateError where an agent has the folder, GitError, ConfigurationRefusedError, OSError.
    """
    with given.folder.locked():
        try:
            head = branch.refresh()
        except GitError:
            # A commit that was fetched before needs no git server.
            if not commit:
                raise
            head = None
        found = branch.resolve(commit) if commit else head
        if found is None:
            raise ShopsetError("the system repository has no branch placement: there is nothing to route by yet")
        snapshot = branch.snapshot(found)
        head_of_it = branch.head(snapshot)
        for problem in head_of_it.problems:
            raise problem
        folder = given.folder.fresh()
        Haproxy(given.folder, given.place, given.haproxy).check(write_check(folder, head_of_it.side, given.place))
        folded = fold(branch, snapshot, head_of_it.side, given.place, folder)
        for problem in folded.problems:
            raise problem
        given.folder.publish(folder)
        given.folder.tidy()
    return folded.generation
