"""The connection to an API server, and what can go wrong with it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2
import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.core import decoders
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import Resource
from lightkube.generic_resource import GenericNamespacedResource, create_namespaced_resource
from lightkube.models.meta_v1 import ObjectMeta

from shopset.api import API_GROUP, KINDS
from shopset.core.errors import ShopsetError

FIELD_MANAGER: Final = "shopset"
"""Who owns the fields that shopset applies; a person who acts for it takes the same name."""
PLURALS: Final[Mapping[str, str]] = {
    kind: f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s" for kind in KINDS
}
"""Kind -> the name of its collection."""
_Kind = TypeVar("_Kind", bound=Resource)


def ready(kind: type[_Kind]) -> type[_Kind]:
    """Return a kind that several threads may ask for.

    msgspec, by which lightkube reads, builds what it knows of a type at the first use, and the process ends with a
    segmentation fault where two threads do so at once.
    """
    decoders.decode_list(b'{"items": [{}]}', kind)
    return kind


RESOURCES: Final[Mapping[str, type[GenericNamespacedResource]]] = {
    kind: ready(create_namespaced_resource(API_GROUP, "v1alpha1", kind, plural)) for kind, plural in PLURALS.items()
}
APPLICATION: Final = ready(create_namespaced_resource("argoproj.io", "v1alpha1", "Application", "applications"))
# What each answer is read by, or a part of it.
decoders.decode_status(b"{}")
decoders.decode_watch_event(b'{"type": "", "object": {}}')
ObjectMeta.from_dict({})

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON has it."""


class KubeError(ShopsetError):
    """The API server could not be asked, or refused."""


class NotFoundError(KubeError):
    """There is no such object."""


class ConflictError(KubeError):
    """Somebody else changed the object since it was read, or it is there already."""


class GoneError(KubeError):
    """The API server no longer knows what has changed since a version: all is to be listed anew."""


_REFUSALS: Final[Mapping[int, type[KubeError]]] = {404: NotFoundError, 409: ConflictError, 410: GoneError}


def connect(kubeconfig: str | None = None, context: str | None = None, timeout: float = 30) -> Client:
    """Connect as kubectl does: to a context of a kubeconfig, or, in a Pod, by its ServiceAccount. Raises KubeError."""
    try:
        if kubeconfig is not None:
            config = KubeConfig.from_file(Path(kubeconfig))
        elif context is not None:
            # A ServiceAccount has no contexts: one that is named is in $KUBECONFIG or in the file at its usual place.
            config = KubeConfig.from_env(service_account="/nonexistent")
        else:
            config = KubeConfig.from_env()
        return Client(config.get(context), timeout=httpx2.Timeout(timeout), field_manager=FIELD_MANAGER)
    except (ConfigError, OSError) as error:
        raise KubeError(f"no cluster to connect to: {error}. Say which with --kubeconfig and --context") from error
    except (LookupError, ValueError, TypeError, AttributeError, AssertionError, yaml.YAMLError) as error:
        # lightkube takes it for granted that the file has the form of one.
        where = f" {kubeconfig}" if kubeconfig else ""
        raise KubeError(f"the kubeconfig{where} cannot be used: {type(error).__name__}: {error}") from error


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Ask the API server for something. Raises KubeError, which says what was asked for."""
    try:
        yield
    except httpx2.HTTPStatusError as error:
        raise _refusal(what, error) from error
    except (httpx2.HTTPError, ConfigError, OSError) as error:
        raise KubeError(f"{what}: the API server does not answer ({error or type(error).__name__})") from error
    except ValueError as error:
        raise KubeError(f"{what}: something that is no API server answers ({error})") from error
    except KeyError as error:
        # lightkube looks up the type of an error's content, which not every proxy states.
        if error.args != ("Content-Type",):
            raise
        raise KubeError(f"{what}: something that is no API server answers") from error


def _refusal(what: str, error: httpx2.HTTPStatusError) -> KubeError:
    if not isinstance(error, ApiError):
        code = error.response.status_code
        return _REFUSALS.get(code, KubeError)(f"{what}: the API server answers {code}")
    status = error.status
    words = status.message or status.reason or status.code
    return _REFUSALS.get(status.code or 0, KubeError)(f"{what}: {words}")
