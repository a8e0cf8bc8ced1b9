"""Whether what runs on a tier is what the lower tier verified, down to the ids of the images."""

from collections.abc import Mapping, Sequence
from typing import Final

from shopset.core.release.ledgers import Ledger
from shopset.core.release.observed import GateReading, ImagesAt, RunningImages

IMAGE_IDS: Final = "image ids"
"""What the evidence calls the comparison. No gate can have this name: it has a blank."""
_SHORT: Final = len("sha256:") + 12


def compare(ledger: Ledger, below: Sequence[str], revision: str, asked: ImagesAt, found: RunningImages) -> GateReading:
    """Compare the images that run on a tier with those of the nearest lower tier whose evidence has ids.

    `below` are the names of the lower tiers, the nearest first. An image that did not run there is not compared.
    """
    if found.problem:
        return GateReading("Unknown", found.problem, asked.at)
    for tier in below:
        record = ledger.verified.get(tier, {}).get(revision)
        if record is not None and record.image_ids:
            moved = _moved(found.ids, record.image_ids)
            if moved is None:
                return GateReading("Pass", f"{_number(found)}, the same as on {tier}")
            ids = f"{_shown(found.ids[moved])} here and {_shown(record.image_ids[moved])} on {tier}"
            return GateReading("Fail", f"{moved} is {ids}: the tag was moved. Name the image by its digest")
    return GateReading("Pass", f"{_number(found)}, and no lower tier to compare with")


def _moved(ids: Mapping[str, Sequence[str]], lower: Mapping[str, Sequence[str]]) -> str | None:
    """Return the first image that has an id which did not run on the lower tier."""
    return next((image for image, found in ids.items() if image in lower and not {*found} <= {*lower[image]}), None)


def _number(found: RunningImages) -> str:
    return f"{len(found.ids)} image{'' if len(found.ids) == 1 else 's'}"


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(each[:_SHORT] for each in ids)
