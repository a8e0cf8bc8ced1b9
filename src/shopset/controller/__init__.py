"""shopset-controller: the engine behind the Kubernetes API. It watches, plans, acts, and tells; all of it can be done by hand."""

import os


def main() -> None:
    """Run the command."""
    # Looking for plugins of pydantic takes part of a start, and none may change what is read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from shopset.controller.app import app  # noqa: PLC0415  # whoever imports a module of the package needs no command

    app()
