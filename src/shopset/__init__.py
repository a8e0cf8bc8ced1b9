"""shopset runs N complete copies of a multi-tenant platform as if they were one."""

__version__ = "0.1.0"
