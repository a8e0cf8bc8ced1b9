"""The resources of the API group `shopset.dev/v1alpha1`: pydantic models with every rule that one object can be judged by."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopset.api._resources import *  # noqa: F403
else:

    def __getattr__(name: str) -> object:
        """Import all kinds with the first name that is asked for: whoever needs one module of these must not pay for all."""
        try:
            return getattr(importlib.import_module(f"{__name__}._resources"), name)
        except AttributeError:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message) from None
