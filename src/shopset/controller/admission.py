"""The validating admission webhook: the API server asks it before it takes a change, and tells the person what it answers.

It refuses only what the company of other objects shows to be wrong, by what the watches have seen. What slips through,
because two changes came at once or nobody was there to be asked, a condition tells.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from lightkube import Client
from lightkube.resources.core_v1 import Namespace

from shopset.api import Platform, Resource, Shop
from shopset.controller.metrics import Metrics
from shopset.controller.objects import Objects
from shopset.controller.shops import Shops
from shopset.controller.statuses import in_words
from shopset.core.admission import Said, dependents, new_errors
from shopset.core.fleets import Problem, host_is_taken
from shopset.kube.clients import KubeError, Manifest, asking, ready
from shopset.kube.fleets import parse
from shopset.kube.stores import key_of

PATH: Final = "/admission"
_MAX_BODY: Final = 8 << 20
"""Bytes: a review holds an object twice, each as large as etcd lets it be."""
UNDER_WAY: Final = 0.5
"""Seconds that news of what was changed just before may take; no refusal is given on older ones."""
_SHOWN: Final = 8
_log = logging.getLogger(__name__)
_NAMESPACE: Final = ready(Namespace)


@dataclass(frozen=True)
class Review:
    """A change that the API server asks about."""

    reference: str
    """Kind and name, as in `Tier/dev`."""
    before: Manifest | None
    """None where it is created."""
    after: Manifest | None
    """None where it is deleted."""

    @property
    def wishes_nothing(self) -> bool:
        """Whether it is about metadata alone, or about an object that is going anyway."""
        if self.before is None:
            return False
        going = bool(self.before["metadata"].get("deletionTimestamp"))
        return going or (self.after is not None and self.after.get("spec") == self.before.get("spec"))


def judge(review: Review, objects: Objects) -> tuple[str, ...]:
    """Return why a change is refused, in words for the person who makes it; nothing where it may be made."""
    if review.wishes_nothing:
        return ()
    before, after = _said(review.before), _said(review.after)
    if isinstance(after, Shop):
        return tuple(_taken(after, before.spec.hosts if isinstance(before, Shop) else (), objects.shops))
    others = [each for each in objects.resources() if each.reference != review.reference]
    if isinstance(before, Resource) and after is None:
        return tuple(_held_back(before, [*dependents(others, before), *objects.shops.dependents(before.reference)]))
    return tuple(_told(review.reference, error) for error in new_errors(others, before, after))


def make_application(objects: Objects, metrics: Metrics, under_way: float = UNDER_WAY) -> web.Application:
    """Return an application that answers reviews at PATH."""

    async def handle(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        before, after = asked.get("oldObject"), asked.get("object")
        review = Review("/".join(key_of(after or before)), before, after)
        refusal = await _settled(review, objects, under_way)
        metrics.admission.labels("refused" if refusal else "allowed").inc()
        if refusal:
            _log.info("refused: %s %s: %s", asked["operation"], review.reference, refusal)
        return web.json_response(_answer(asked["uid"], refusal))

    application = web.Application(client_max_size=_MAX_BODY)
    application.router.add_post(PATH, handle)
    return application


async def _settled(review: Review, objects: Objects, under_way: float) -> str:
    """Return why a change is refused, after news that was under way has come; not where all of the namespace goes."""
    if not judge(review, objects):
        return ""
    if review.after is None and await asyncio.to_thread(_is_ending, objects.client, objects.namespace):
        return ""
    await asyncio.sleep(under_way)
    return "; ".join(judge(review, objects))


def _is_ending(client: Client, namespace: str) -> bool:
    """Whether a namespace is being deleted, and all that is in it therefore. In doubt nobody is held up."""
    try:
        with asking(f"namespace {namespace}"):
            found = client.get(_NAMESPACE, namespace)
    except KubeError as error:
        _log.warning("%s", error)
        return True
    return found.status is not None and found.status.phase == "Terminating"


def _said(manifest: Manifest | None) -> Said:
    return parse(manifest) if manifest is not None else None


def _told(reference: str, error: Problem) -> str:
    words = in_words([error])
    return words if error.resource == reference else f"{error.resource} would be wrong: {words}"


def _taken(shop: Shop, kept: Collection[str], shops: Shops) -> Iterator[str]:
    """Yield what is wrong with the hosts that a Shop did not have before."""
    for index, host in enumerate(shop.spec.hosts):
        owner = shops.owner(host, besides=shop.name)
        if owner is not None and host not in kept:
            yield in_words([host_is_taken(shop.name, index, host, owner)])


def _held_back(gone: Resource, needing: Sequence[str]) -> Iterator[str]:
    if needing:
        more = f" and {len(needing) - _SHOWN} more" if len(needing) > _SHOWN else ""
        advice = "" if isinstance(gone, Platform) else f", or let them refer to another {gone.kind}"
        yield f"{gone.reference} is needed by {', '.join(needing[:_SHOWN])}{more}: delete those first{advice}"


def _answer(uid: str, refusal: str) -> dict[str, Any]:
    response: dict[str, Any] = {"uid": uid, "allowed": not refusal}
    if refusal:
        response["status"] = {"code": 403, "reason": "Forbidden", "message": refusal}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
