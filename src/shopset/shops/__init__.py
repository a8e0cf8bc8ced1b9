"""Where shops come from: files, a table of PostgreSQL, and Shop resources, merged."""

from shopset.shops.reading import Reading, Secrets, ShopReader, read_shops

__all__ = ["Reading", "Secrets", "ShopReader", "read_shops"]
