"""What is told of a fleet that is not accepted."""

from shopset.controller.statuses import refused
from shopset.core.fleets import Problem
from support.pure import make_fleet

STRANGE = Problem("Tier/strange", ("spec", "promotion"), "Mars/Olympus is no time zone", "write it as in Asia/Tokyo")


def accepted(*problems: Problem) -> dict[str, tuple[str, str]]:
    fleet = make_fleet({"dev": {}}, {})
    told = refused([fleet.platform, *fleet.tiers], problems)
    found = ((reference, each) for reference, status in told for each in status["conditions"])
    return {reference: (each["reason"], each["message"]) for reference, each in found}


def test_an_object_that_cannot_be_read_is_told_so() -> None:
    told = "spec.promotion: Mars/Olympus is no time zone. write it as in Asia/Tokyo"
    assert accepted(STRANGE) == {
        "Tier/strange": ("Invalid", told),
        "Platform/shop": ("FleetInvalid", f"1 problem of other objects must be solved first: {told}"),
    }


def test_a_platform_that_is_wrong_itself_says_that() -> None:
    own = Problem("Platform/shop", ("spec",), "it is wrong")
    assert {name: reason for name, (reason, _) in accepted(STRANGE, own).items()} == {
        "Tier/strange": "Invalid",
        "Platform/shop": "Invalid",
    }
