"""Servers that answer as a test says."""

from support.servers import serve

__all__ = ["serve"]
