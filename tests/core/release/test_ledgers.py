import contextlib
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from shopset.core.release.ledgers import dump_levels, read_ledger
from shopset.core.release.records import (
    ApprovalRecord,
    HoldRecord,
    Lifting,
    PinRecord,
    VerificationRecord,
    approval_path,
    person_slug,
    pin_path,
)
from shopset.core.release.revisions import MalformedRevisionError, Revision

ids = st.text("0123456789abcdef", min_size=40, max_size=40)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
words = st.text(min_size=1, max_size=40).filter(lambda text: text.strip() == text and text.isprintable())


@given(apps=ids, configuration=ids, at=moments, by=words, reason=words)
def test_a_pin_is_read_as_it_was_written(apps: str, configuration: str, at: datetime, by: str, reason: str) -> None:
    revision = Revision(apps, configuration, "v1")
    pin = PinRecord(
        revision=revision.id,
        apps=apps,
        configuration=configuration,
        renderer="v1",
        kind="Promotion",
        at=at,
        by=by,
        reason=reason,
    )
    ledger = read_ledger({pin_path("dev", 1): pin.dump()})
    assert (ledger.pins, ledger.malformed) == ({"dev": (pin,)}, ())


@given(at=moments, by=words, reason=words, bake=st.integers(0, 10**6))
def test_overrides_and_liftings_are_read_as_they_were_written(at: datetime, by: str, reason: str, bake: int) -> None:
    revision = "a" * 40
    approval = ApprovalRecord(
        revision=revision, at=at, by=by, reason=reason, bake=timedelta(seconds=bake), expedite=True
    )
    hold = HoldRecord(tier="dev", since=at, by=by, reason=reason, lifted=Lifting(at=at, by=by, reason=reason))
    files = {approval_path("dev", revision, by): approval.dump(), "holds/dev/x.yaml": hold.dump()}
    ledger = read_ledger(files)
    assert ledger.approvals == {"dev": {revision: (approval,)}}
    assert ledger.holds == {"dev": {"x": hold}}


def test_empty_values_are_left_out_and_times_are_in_whole_seconds() -> None:
    at = datetime(2026, 11, 25, 4, 43, 12, 999, tzinfo=UTC)
    record = VerificationRecord(revision="a" * 40, pin=1, at=at, by="x <x@y>", healthy_since=at)
    assert record.dump().decode() == (
        f"revision: {'a' * 40}\npin: 1\nat: '2026-11-25T04:43:12Z'\nby: x <x@y>\nhealthySince: '2026-11-25T04:43:12Z'\nbake: 0s\n"
    )


def test_one_malformed_file_does_not_hide_the_others() -> None:
    ledger = read_ledger({"tiers.yaml": dump_levels({"dev": 0}), "pins/dev/000001.yaml": b"{", "what/is/this": b""})
    assert ledger.levels == {"dev": 0}
    assert [error.path for error in ledger.malformed] == ["pins/dev/000001.yaml", "what/is/this"]


def test_a_gap_in_the_pins_is_told() -> None:
    revision = Revision("a" * 40, "b" * 40, "v1")
    pin = PinRecord(
        revision=revision.id,
        apps=revision.apps,
        configuration=revision.configuration,
        renderer="v1",
        kind="Promotion",
        at=datetime.now(UTC),
        by="x",
        reason="y",
    )
    ledger = read_ledger({pin_path("dev", 1): pin.dump(), pin_path("dev", 3): pin.dump()})
    assert [error.path for error in ledger.malformed] == ["pins/dev"]


def test_a_pin_whose_id_is_not_that_of_its_lines_is_malformed() -> None:
    text = f"revision: {'c' * 40}\napps: {'a' * 40}\nconfiguration: {'b' * 40}\nrenderer: v1\nkind: Promotion\n"
    text += "at: 2026-11-25T04:43:12Z\nby: x\nreason: y\n"
    assert read_ledger({pin_path("dev", 1): text.encode()}).malformed


@given(text=st.text())
def test_a_persons_file_name_is_harmless(text: str) -> None:
    slug = person_slug(text)
    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@given(apps=ids, configuration=ids, renderer=st.sampled_from(["v1", "v2", "v12"]))
def test_a_revision_is_read_as_it_was_written(apps: str, configuration: str, renderer: str) -> None:
    revision = Revision(apps, configuration, renderer)
    assert Revision.parse(revision.text) == revision


@given(content=st.binary(max_size=200))
def test_anything_else_is_no_revision(content: bytes) -> None:
    with contextlib.suppress(MalformedRevisionError):
        assert Revision.parse(content).text == content
