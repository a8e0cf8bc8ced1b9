"""shopset-edge: the agent beside an HAProxy. It follows the branch `placement`, and git is all that it needs."""

import os


def main() -> None:
    """Run the command."""
    # Looking for plugins of pydantic takes part of a start, and none may change what is read.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from shopset.edge_agent.app import app  # noqa: PLC0415  # whoever imports a module of the package needs no command

    app()
