"""What these tests share."""

from support.servers import serve

__all__ = ["serve"]
