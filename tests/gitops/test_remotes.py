"""The three repositories on real git: observed cheaply, changed by plain atomic pushes, wrong in every way that git can be."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopset.core.release.actions import ActionKind, Commit, PushRefs, RefUpdate
from shopset.core.release.observed import ComponentsOf, IsAncestor, Repository, SubjectOf
from shopset.gitops import LostRaceError, RefusedError, Remotes, UnreachableError
from support.git import AT, BRANCHES, LINKS, REVISION, head, ledger, push, remotes, source_commit, tier
from support.worlds import ENVIRONMENT, git


class TestPushing:
    def test_a_commit_has_the_author_the_date_the_message_and_the_gitlinks(self, parent: Path) -> None:
        commit = replace(tier(None), trailers=(("Shopset-Tier", "dev"),))
        made = remotes(parent).push_commits(push(commit), {})
        shown = git(
            "show",
            "-s",
            "--format=%an %ae %at %cn %s%n%(trailers)",
            made["tier-0"],
            folder=parent / "shopset-system.git",
        )
        assert shown == f"Yamada y@example.com {int(AT.timestamp())} shopset a commit\nShopset-Tier: dev"
        listed = git("ls-tree", made["tier-0"], folder=parent / "shopset-system.git")
        assert f"160000 commit {'a' * 40}\tbase" in listed

    def test_the_same_action_makes_the_same_commit_everywhere(self, parent: Path) -> None:
        first = remotes(parent).push_commits(push(tier(None)), {})
        assert remotes(parent, "other").push_commits(push(tier(None)), {}) == first

    def test_when_one_branch_has_moved_none_moves(self, parent: Path) -> None:
        one, two = remotes(parent, "one"), remotes(parent, "two")
        base = one.push_commits(push(tier(None), ledger(None)), {})
        two.observe(BRANCHES)
        one.push_commits(push(ledger(base["ledger"], b"dev: {level: 1}\n")), {})
        moved = head(parent, "ledger")
        with pytest.raises(LostRaceError):
            two.push_commits(push(tier(base["tier-0"], x=b"1"), ledger(base["ledger"], b"dev: {level: 2}\n")), {})
        assert (head(parent, "tier-0"), head(parent, "ledger")) == (base["tier-0"], moved)

    def test_a_branch_that_somebody_else_made_first_is_a_lost_race(self, parent: Path) -> None:
        remotes(parent, "one").push_commits(push(ledger(None)), {})
        with pytest.raises(LostRaceError):
            remotes(parent, "two").push_commits(push(ledger(None, b"qa: {level: 0}\n")), {})

    def test_of_many_at_once_one_wins_and_nothing_is_lost(self, parent: Path) -> None:
        base = remotes(parent).push_commits(push(ledger(None)), {})["ledger"]
        people = [remotes(parent, f"cache-{number}") for number in range(4)]
        for each in people:
            each.observe(BRANCHES)
        for round_number in range(6):
            outcomes: list[bool] = []

            def attempt(
                number: int,
                each: Remotes,
                base: str = base,
                round_number: int = round_number,
                outcomes: list[bool] = outcomes,
            ) -> None:
                commit = Commit("ledger", base, "a record", {f"holds/dev/{round_number}-{number}.yaml": b"x\n"})
                try:
                    each.push_commits(push(commit), {})
                    outcomes.append(True)
                except LostRaceError:
                    outcomes.append(False)

            threads = [threading.Thread(target=attempt, args=(number, each)) for number, each in enumerate(people)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == [False, False, False, True]
            base = head(parent, "ledger")
            for each in people:
                each.observe(BRANCHES)
        assert len(git("rev-list", "ledger", folder=parent / "shopset-system.git").splitlines()) == 7

    def test_pushing_what_is_there_already_is_no_error(self, parent: Path) -> None:
        commit = source_commit(parent, "apps", {"x": "1"})
        action = PushRefs(
            kind=ActionKind.FAST_FORWARD,
            what="x",
            why=(),
            at=AT,
            repository=Repository.APPS,
            updates=(RefUpdate("refs/heads/tier-1", commit, None),),
        )
        one, two = remotes(parent, "one"), remotes(parent, "two")
        for each in (one, two):
            each.observe(BRANCHES)
        for each in (one, two, one):
            each.push_refs(action)
        assert head(parent, "tier-1", "apps") == commit

    def test_a_branch_is_never_forced(self, parent: Path) -> None:
        old = source_commit(parent, "apps", {"x": "1"})
        new = source_commit(parent, "apps", {"x": "2"}, "other")
        it = remotes(parent)
        it.observe(BRANCHES)
        update = RefUpdate("refs/heads/tier-0", new, old)
        with pytest.raises(LostRaceError):
            it.push_refs(
                PushRefs(
                    kind=ActionKind.FAST_FORWARD, what="x", why=(), at=AT, repository=Repository.APPS, updates=(update,)
                )
            )
        assert head(parent, "tier-0", "apps") == old

    def test_a_hook_that_declines_is_a_refusal_with_its_words(self, parent: Path) -> None:
        hook = parent / "shopset-system.git" / "hooks" / "pre-receive"
        hook.write_text("#!/bin/sh\necho 'not on a Friday' >&2\nexit 1\n")
        hook.chmod(0o755)
        with pytest.raises(RefusedError, match="not on a Friday"):
            remotes(parent).push_commits(push(tier(None)), {})

    paths = st.lists(st.sampled_from(["a", "b.yaml", "d/e", "d/f g", "é/ü", 'q"uote']), unique=True)

    @given(
        before=st.dictionaries(paths.filter(bool).map(lambda names: names[0]), st.binary(max_size=9), min_size=1),
        writes=st.dictionaries(paths.filter(bool).map(lambda names: names[0]), st.binary(max_size=9)),
        deletes=paths,
    )
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_the_tree_is_the_one_that_git_makes_in_a_work_tree(
        self, parent: Path, before: dict[str, bytes], writes: dict[str, bytes], deletes: list[str]
    ) -> None:
        work, branch = parent / "work", "tree"
        shutil.rmtree(work, ignore_errors=True)
        it = remotes(parent)
        git("--git-dir", str(parent / "shopset-system.git"), "update-ref", "-d", f"refs/heads/{branch}")
        it.observe(BRANCHES)
        base = it.push_commits(push(Commit(branch, None, "x", before)), {})[branch]
        changed = {path: content for path, content in writes.items() if path not in deletes}
        made = it.push_commits(push(Commit(branch, base, "y", changed, tuple(sorted(deletes)))), {})[branch]
        work.mkdir()
        git("init", "--quiet", folder=work)
        for path, content in {
            **{path: content for path, content in before.items() if path not in deletes},
            **changed,
        }.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_bytes(content)
        git("add", "--all", "--force", folder=work)
        assert git("write-tree", folder=work) == git(
            "rev-parse", f"{made}^{{tree}}", folder=parent / "shopset-system.git"
        )


class TestObserving:
    def test_a_tier_and_the_ledger_are_read(self, parent: Path) -> None:
        it = remotes(parent)
        it.push_commits(push(tier(None, overlays__x__kustomization=b"y"), ledger(None)), {})
        seen = it.observe(BRANCHES)
        assert seen.tiers["dev"].trouble is None
        assert set(seen.tiers["dev"].overlays) == {"x"}
        assert seen.ledger.levels == {"dev": 0}
        assert "beta" not in seen.tiers

    def test_what_others_push_is_seen(self, parent: Path) -> None:
        one, two = remotes(parent, "one"), remotes(parent, "two")
        one.observe(BRANCHES)
        made = two.push_commits(push(tier(None)), {})
        assert one.observe(BRANCHES).tiers["dev"].head == made["tier-0"]

    def test_without_a_look_it_is_as_last_seen_and_pushed_until_a_push_fails(self, parent: Path) -> None:
        ours, theirs = remotes(parent, "ours"), remotes(parent, "theirs")

        def seen() -> str:
            return ours.observe(BRANCHES, look=False).repositories[Repository.SYSTEM].branches["ledger"]

        first = theirs.push_commits(push(ledger(None)), {})["ledger"]
        assert seen() == first, "what was never looked at"
        second = ours.push_commits(push(ledger(first, b"dev: {level: 1}\n")), {})["ledger"]
        theirs.observe(BRANCHES)
        third = theirs.push_commits(push(ledger(second, b"dev: {level: 2}\n")), {})["ledger"]
        assert seen() == second
        with pytest.raises(LostRaceError):
            ours.push_commits(push(ledger(second, b"dev: {level: 3}\n")), {})
        assert seen() == third

    @pytest.mark.parametrize(
        ("commit", "reason"),
        [
            (Commit("tier-0", None, "x", {"revision.yaml": b"apps: x\n"}, gitlinks=LINKS), "RevisionMalformed"),
            (Commit("tier-0", None, "x", {"other": b""}, gitlinks=LINKS), "RevisionMissing"),
            (Commit("tier-0", None, "x", {"revision.yaml": REVISION}, gitlinks={"base": "c" * 40}), "RevisionDiffers"),
        ],
    )
    def test_a_tier_branch_written_by_hand_in_a_wrong_way_is_a_trouble(
        self, parent: Path, commit: Commit, reason: str
    ) -> None:
        it = remotes(parent)
        it.push_commits(push(commit), {})
        trouble = it.observe(BRANCHES).tiers["dev"].trouble
        assert trouble is not None
        assert trouble.reason == reason

    def test_one_repository_that_is_not_there_is_a_trouble_and_the_others_are_seen(self, parent: Path) -> None:
        shutil.rmtree(parent / "shopset-apps.git")
        source_commit(parent, "configuration", {"x": "1"})
        seen = remotes(parent).observe(BRANCHES)
        assert seen.repositories[Repository.APPS].trouble is not None
        assert seen.repositories[Repository.CONFIGURATION].branches

    def test_an_empty_repository_is_no_trouble(self, parent: Path) -> None:
        seen = remotes(parent).observe(BRANCHES).repositories[Repository.APPS]
        assert (seen.branches, seen.trouble) == ({}, None)

    def test_branches_named_like_options_do_no_harm(self, parent: Path) -> None:
        commit = source_commit(parent, "apps", {"x": "1"})
        for name in ("--upload-pack=touch", "-x", "tier-0;id"):
            (parent / "shopset-apps.git" / "refs" / "heads" / name).write_text(f"{commit}\n")
        assert remotes(parent).observe(BRANCHES).repositories[Repository.APPS].branches["tier-0"] == commit
        assert not (parent / "pwned").exists()

    @pytest.mark.parametrize("damage", ["HEAD", "objects", "refs", "lock"])
    def test_a_damaged_cache_is_made_anew(self, parent: Path, damage: str) -> None:
        source_commit(parent, "apps", {"x": "1"})
        remotes(parent).observe(BRANCHES)
        cache = parent / "cache" / "apps.git"
        if damage == "lock":
            (cache / "refs" / "remotes" / "origin").mkdir(parents=True, exist_ok=True)
            (cache / "refs" / "remotes" / "origin" / "tier-0.lock").touch()
        elif damage == "HEAD":
            (cache / "HEAD").write_text("nonsense")
        else:
            shutil.rmtree(cache / damage)
        newer = source_commit(parent, "apps", {"x": "2"}, "tier-1")
        seen = remotes(parent).observe(BRANCHES).repositories[Repository.APPS]
        assert seen.branches.get("tier-1") == newer, seen.trouble

    def test_a_rewritten_branch_is_seen_and_the_old_commit_is_still_known(self, parent: Path) -> None:
        old = source_commit(parent, "apps", {"x": "1"})
        it = remotes(parent)
        it.observe(BRANCHES)
        git("--git-dir", str(parent / "shopset-apps.git"), "update-ref", "-d", "refs/heads/tier-0")
        new = source_commit(parent, "apps", {"x": "2"})
        assert it.observe(BRANCHES).repositories[Repository.APPS].branches == {"tier-0": new}
        assert it.answer(IsAncestor(Repository.APPS, old, new)) is False
        assert it.answer(SubjectOf(Repository.APPS, old)) == "the subject"

    @pytest.mark.parametrize(
        ("files", "names", "problem"),
        [
            ({"kustomization.yaml": "", "cart/kustomization.yaml": ""}, ("",), ""),
            (
                {"cart/Kustomization": "", "api/kustomization.yml": "", ".x/kustomization.yaml": "", "docs/a": ""},
                ("api", "cart"),
                "",
            ),
            ({"README": ""}, (), "no kustomization.yaml"),
            ({"a b/kustomization.yaml": ""}, (), "cannot be named"),
        ],
    )
    def test_the_components_of_a_base(
        self, parent: Path, files: dict[str, str], names: tuple[str, ...], problem: str
    ) -> None:
        commit = source_commit(parent, "apps", files)
        it = remotes(parent)
        it.observe(BRANCHES)
        found = it.answer(ComponentsOf(commit))
        assert not isinstance(found, bool | str)
        assert (found.names, problem in found.problem) == (names, True)


class TestUnreachable:
    def test_a_server_that_hangs_is_given_up(self, parent: Path) -> None:
        with serving(hang=True) as port:
            seen = remotes(parent, timeout=1, apps=f"http://127.0.0.1:{port}/apps.git").observe(BRANCHES)
        trouble = seen.repositories[Repository.APPS].trouble
        assert trouble is not None
        assert trouble.reason == "RepositoryUnreachable"
        assert "1 s" in trouble.message

    def test_a_server_that_asks_for_a_password_never_makes_git_ask(self, parent: Path) -> None:
        with serving(status=401) as port:
            seen = remotes(parent, apps=f"http://127.0.0.1:{port}/apps.git").observe(BRANCHES)
        trouble = seen.repositories[Repository.APPS].trouble
        assert trouble is not None

    def test_a_redirect_is_not_followed(self, parent: Path) -> None:
        with serving(status=302) as port:
            seen = remotes(parent, apps=f"http://127.0.0.1:{port}/apps.git").observe(BRANCHES)
        assert seen.repositories[Repository.APPS].trouble is not None

    def test_nobody_listening_is_unreachable_also_for_a_push(self, parent: Path) -> None:
        it = remotes(parent, system="http://127.0.0.1:1/shopset-system.git")
        with pytest.raises(UnreachableError):
            it.push_commits(push(tier(None)), {})

    def test_credentials_are_used_over_smart_http_and_never_shown(self, parent: Path) -> None:
        commit = source_commit(parent, "apps", {"x": "1"})
        with git_over_http(parent, "Basic bWU6aHVudGVyMg==") as port:
            url = f"http://127.0.0.1:{port}/shopset-apps.git"
            refused = remotes(parent, "one", apps=url).observe(BRANCHES).repositories[Repository.APPS]
            helper = {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "credential.helper",
                "GIT_CONFIG_VALUE_0": "!f() { echo username=me; echo password=hunter2; }; f",
            }
            it = remotes(parent, "two", environment={**ENVIRONMENT, **helper}, apps=url)
            seen = it.observe(BRANCHES).repositories[Repository.APPS]
            update = RefUpdate("refs/heads/tier-1", commit, None)
            it.push_refs(
                PushRefs(
                    kind=ActionKind.FAST_FORWARD, what="x", why=(), at=AT, repository=Repository.APPS, updates=(update,)
                )
            )
        assert refused.trouble is not None
        assert seen.branches == {"tier-0": commit}
        assert head(parent, "tier-1", "apps") == commit


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def serving(*, status: int = 200, hang: bool = False) -> Iterator[int]:
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hang:
                released.wait(10)
                return
            self.send_response(status)
            self.send_header("WWW-Authenticate", "Basic realm=x")
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as port:
        yield port
        released.set()


@contextmanager
def git_over_http(parent: Path, credential: str) -> Iterator[int]:
    """Git's own http-backend behind a password."""
    for name in Repository:
        git("config", "http.receivepack", "true", folder=parent / f"shopset-{name}.git")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != credential:
                self.send_response(401)
                self.send_header("WWW-Authenticate", "Basic realm=git")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            variables = {
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(parent),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REQUEST_METHOD": self.command,
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type") or "",
                "REMOTE_USER": "me",
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
                "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            }
            done = subprocess.run(["git", "http-backend"], input=body, env=variables, capture_output=True, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
            self.send_response(int(fields.pop("Status", "200").split(" ")[0]))
            for key, value in fields.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815  # the name that http.server calls

        def log_message(self, *_: Any) -> None:
            pass

    with served(Handler) as port:
        yield port
