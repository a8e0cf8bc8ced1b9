"""The root of every error that shopset raises on purpose."""


class ShopsetError(Exception):
    """An error with a message for a person: what is wrong, and what to do about it."""
