"""What a failed push means, by git's own status of each ref; what a hook says is only passed on."""

import pytest

from shopset.gitops import GitError, LocalGitError, LostRaceError, RefusedError, UnreachableError
from shopset.gitops.pushing import push_error
from shopset.gitops.transport import FailedError


def status(reason: str, *, by: str = "remote rejected", ref: str = "refs/heads/tier-0") -> str:
    return f"!\t{'a' * 40}:{ref}\t[{by}] ({reason})\n"


@pytest.mark.parametrize(
    ("output", "errors", "kind"),
    [
        (status("fetch first", by="rejected"), "", LostRaceError),
        (status("non-fast-forward", by="rejected") + status("atomic push failed", by="rejected"), "", LostRaceError),
        (status("already exists", by="rejected", ref="refs/tags/shopset/abc"), "", LostRaceError),
        (status("incorrect old value provided"), "", LostRaceError),
        (status("failed to update ref") + status("atomic transaction failed"), "", LostRaceError),
        (status("failed to update ref"), "remote: error: unable to write: No space left on device", RefusedError),
        (status("unpacker error"), "remote: fatal: insufficient permission for adding an object", RefusedError),
        (status("pre-receive hook declined"), "remote: the pin already exists, fetch first", RefusedError),
        (status("protected branch hook declined"), "", RefusedError),
        (status("fetch first", by="rejected") + status("hook declined"), "", RefusedError),
        ("", "fatal: unable to access 'https://x/': The requested URL returned error: 403", RefusedError),
        ("", "remote: Permission to a/b.git denied to c.\nfatal: the remote end hung up", RefusedError),
        ("", "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.", UnreachableError),
        ("", "ssh: connect to host x port 22: refused\nfatal: the remote end hung up unexpectedly", UnreachableError),
        ("", "fatal: bad object abc", LocalGitError),
    ],
)
def test_each_outcome_has_its_meaning(output: str, errors: str, kind: type[GitError]) -> None:
    meant = push_error(FailedError("push", output.encode(), errors.encode()), "shopset-system")
    assert isinstance(meant, kind)


def test_the_ref_the_reason_and_what_the_server_said_are_told() -> None:
    said = b"remote: line 1\nremote: \nremote: line 2\nhint: see git help\nerror: failed to push some refs to 'x'\n"
    meant = push_error(FailedError("push", status("pre-receive hook declined").encode(), said), "shopset-system")
    assert meant.words == "refs/heads/tier-0: pre-receive hook declined; line 1; line 2"
    assert "Mend what it names" in str(meant)
