"""When a cluster is declared lost without a person, and each brake by itself."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopset.core.fleets import Fleet
from shopset.core.placement.failing import Signs, Verdict, Vigil, judge
from shopset.core.placement.placements import Group, PlacedShop, Placement
from shopset.core.placement.plans import Seen
from shopset.core.placement.requests import LoseCluster, respond_placement
from shopset.core.placement.shops import Shops
from shopset.core.release.actions import SHOPSET
from shopset.core.release.records import ClusterRecord
from support.placing import SINGLE, STANDARD, placing_fleet
from support.pure import START, YAMADA

WILLING = {**STANDARD, "failover": {"after": "5m"}}
AFTER = timedelta(minutes=5)
WELL = {"its API server": "", "Argo CD": ""}
ILL = {"its API server": "does not answer", "Argo CD": "it sees none of its 2 Applications"}


def make_fleet(clusters: str = "abcd", **classes: Any) -> Fleet:
    shopsets = {f"{name}-1": {"cluster": name} for name in clusters}
    return placing_fleet({name: {} for name in clusters}, shopsets, classes or {"standard": WILLING})


def seen(*groups: Group, **records: ClusterRecord) -> Seen:
    shops = [PlacedShop(f"shop-{number}", group.name, ()) for number, group in enumerate(groups)]
    return Seen(START, Shops(), Placement.of(groups, shops), clusters=records)


def record(cluster: str, by: object, state: str = "Lost") -> ClusterRecord:
    fields = {"cluster": cluster, "state": state, "since": START, "by": str(by), "reason": "fire"}
    return ClusterRecord.model_validate(fields)


ON_A = Group("standard#0", "standard", ("a-1", "b-1"))


def signs(clusters: str = "abcd", ill: str = "a") -> Signs:
    return {name: ILL if name in ill else WELL for name in clusters}


def watched(found: Signs, span: timedelta, step: timedelta = timedelta(minutes=1)) -> Vigil:
    """Return what is known after the same was seen for a span of time."""
    vigil, now = Vigil(), START
    while now <= START + span:
        vigil, now = vigil.after(found, now), now + step
    return vigil


def verdict(found: Signs, span: timedelta = AFTER, of: Seen | None = None, trouble: str = "") -> Verdict:
    return judge(make_fleet(), of or seen(ON_A), watched(found, span), found, trouble)


def test_a_cluster_of_which_all_say_so_for_long_enough_is_lost_and_the_evidence_is_told() -> None:
    early = verdict(signs(), AFTER - timedelta(minutes=1))
    assert (early.lost, early.wake_at) == ("", START + timedelta(minutes=1))
    assert early.conditions[0].message.endswith("it is declared lost at 10:05:00 UTC")
    found = verdict(signs())
    assert found.lost == "a"
    assert found.reason == (
        "unhealthy for 5m00s: Argo CD: it sees none of its 2 Applications; its API server: does not answer"
    )


@pytest.mark.parametrize("who", sorted(ILL))
def test_one_signal_alone_is_not_enough(who: str) -> None:
    only, other = {**WELL, who: ILL[who]}, {who: ILL[who]}
    for a in (only, other):
        found = verdict({**signs(ill=""), "a": a})
        assert (found.lost, found.conditions) == ("", ())


def test_a_moment_of_health_or_of_blindness_begins_the_time_anew() -> None:
    for between in (signs(ill=""), None):
        vigil = watched(signs(), timedelta(minutes=4))
        now = START + timedelta(minutes=5)
        if between is not None:
            vigil = vigil.after(between, now)
        later = now + timedelta(minutes=3)
        vigil = vigil.after(signs(), later)
        assert vigil.since == {"a": later}


def refusal(found: Verdict) -> str:
    (condition,) = found.conditions
    assert (found.lost, condition.resource, condition.type) == ("", "Cluster/a", "Healthy")
    return condition.message.partition("by itself: ")[2]


def test_of_two_at_once_a_person_decides() -> None:
    found = judge(make_fleet(), seen(ON_A), watched(signs(ill="ab"), AFTER), signs(ill="ab"))
    assert found.lost == ""
    assert all("a, b are unhealthy at once" in each.message for each in found.conditions)
    half = {**signs(), "c": {**WELL, "Argo CD": "it sees none of its 1 Applications"}}
    assert "a, c are unhealthy at once" in refusal(verdict(half))


def test_nothing_is_lost_where_shopset_may_be_cut_off() -> None:
    assert "cut off (git is away)" in refusal(verdict(signs(), trouble="git is away"))
    few = signs("ab")
    found = judge(make_fleet("ab"), seen(ON_A), watched(few, AFTER), few)
    assert "only 1 other clusters are seen to be well" in refusal(found)


def test_one_that_shopset_declared_lost_holds_back_another_until_a_person_confirms_it() -> None:
    there = signs("abc")
    assert "cluster d was, and no person has confirmed it" in refusal(
        verdict(there, of=seen(ON_A, d=record("d", SHOPSET)))
    )
    assert verdict(there, of=seen(ON_A, d=record("d", YAMADA))).lost == "a"


def test_another_one_has_to_wait_for_an_hour() -> None:
    vigil = replace(watched(signs(), AFTER), declared=START)
    assert "for an hour after that" in refusal(judge(make_fleet(), seen(ON_A), vigil, signs()))
    old = replace(vigil, declared=START - timedelta(hours=1))
    assert judge(make_fleet(), seen(ON_A), old, signs()).lost == "a"


def test_a_cluster_is_lost_only_where_every_class_on_it_lets_that_be_done() -> None:
    fleet = make_fleet(standard=WILLING, single=SINGLE, slow={**WILLING, "failover": {"after": "20m"}})
    vigil = watched(signs(), AFTER)
    single, slow = Group("single#", "single", ("a-1",)), Group("slow#", "slow", ("b-1", "a-1"))
    assert "shops of single are there" in refusal(judge(fleet, seen(ON_A, single), vigil, signs()))
    assert judge(fleet, seen(ON_A, replace(single, replicas=("c-1",))), vigil, signs()).lost == "a"
    early = judge(fleet, replace(seen(ON_A, slow), now=START + AFTER), vigil, signs())
    assert early.conditions[0].message.endswith("declared lost at 10:20:00 UTC")
    assert early.wake_at == START + timedelta(minutes=6)
    assert "no shop is there" in refusal(judge(fleet, seen(), vigil, signs()))


def test_what_a_person_has_recorded_is_left_alone() -> None:
    for state in ("Lost", "Draining", "Upgrading", "Returning"):
        found = verdict(signs(), of=seen(ON_A, a=record("a", YAMADA, state)))
        assert (found.lost, found.conditions) == ("", ())


@given(
    looks=st.lists(
        st.tuples(st.integers(1, 5), st.lists(st.sampled_from(["well", "half", "ill"]), min_size=4, max_size=4)),
        min_size=1,
        max_size=25,
    )
)
def test_never_before_its_time_and_never_two(looks: list[tuple[int, list[str]]]) -> None:
    kinds = {"well": WELL, "half": {**WELL, "Argo CD": "away"}, "ill": ILL}
    vigil, now, history = Vigil(), START, list[tuple[datetime, list[str]]]()
    group = Group("standard#0", "standard", ("a-1", "b-1", "c-1", "d-1"))
    for minutes, states in looks:
        now += timedelta(minutes=minutes)
        history.append((now, states))
        found = dict(zip("abcd", (kinds[each] for each in states), strict=True))
        vigil = vigil.after(found, now)
        lost = judge(make_fleet(), seen(group), vigil, found).lost
        # The oracle looks back: since when without a break, and without a gap, was it ill?
        expected = ""
        for number, name in enumerate("abcd"):
            since, last = None, now
            for at, before in reversed(history):
                if before[number] != "ill" or last - at > timedelta(minutes=3):
                    break
                since = last = at
            if since is not None and now - since >= AFTER and [each != "well" for each in states].count(True) == 1:
                expected = name
        assert lost == expected


def test_a_person_confirms_what_shopset_declared() -> None:
    request = LoseCluster(cluster="a", reason="seen it burn")
    by_shopset = seen(ON_A, a=record("a", SHOPSET))
    (action, *_) = respond_placement(make_fleet(), by_shopset, request, YAMADA).actions
    (commit,) = action.commits
    written = ClusterRecord.load("", commit.writes["clusters/a.yaml"])
    assert (written.state, written.by, written.reason) == ("Lost", str(YAMADA), "seen it burn")
    for author, before in ((SHOPSET, SHOPSET), (YAMADA, YAMADA)):
        again = respond_placement(make_fleet(), seen(ON_A, a=record("a", before)), request, author)
        assert all(each.branch != "ledger" for action in again.actions for each in action.commits)
