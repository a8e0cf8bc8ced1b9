"""The error of a request that cannot be met."""

from shopset.core.errors import ShopsetError


class RequestRefusedError(ShopsetError):
    """A request that cannot be met as things stand; the message says why and what would help."""
