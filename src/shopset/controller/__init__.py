"""shopset-controller: the engine behind the Kubernetes API. It watches, plans, acts, and tells; all of it can be done by hand."""


def main() -> None:
    """Run the command."""
    from shopset.controller.app import app  # noqa: PLC0415  # whoever imports a module of the package needs no command

    app()
