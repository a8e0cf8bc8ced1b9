"""The verbs about edges with their options. What they do is imported only when one of them runs."""

from pathlib import Path
from typing import Annotated

import typer

from shopset.cli.options import OutputOption, example, form, settings_of
from shopset.cli.running import run

edge_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="The edge: how requests are routed, and whether edges follow git."
)
AgentOption = Annotated[
    list[str] | None,
    typer.Option(
        "--agent", metavar="URL", help="Ask this agent; several together. [default: Platform.spec.edge.agents]"
    ),
]


@edge_app.command(
    epilog=example(
        "shopctl edge where hoge.shop-pro.jp",
        "shopctl edge where hoge.shop-pro.jp --client 192.0.2.7 --method POST --path /cart",
        "shopctl edge where hoge.shop-pro.jp --at 3h",
    )
)
def where(
    context: typer.Context,
    host: Annotated[str, typer.Argument(metavar="HOST", help="What stands in the request, as a browser writes it.")],
    client: Annotated[
        str | None, typer.Option("--client", metavar="ADDR", help="The client's address. [default: any client]")
    ] = None,
    path: Annotated[str, typer.Option("--path", help="What is asked for.")] = "/",
    method: Annotated[str, typer.Option("--method", help="The request's method.")] = "GET",
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="COMMIT|TIME",
            help="By the placement of then: a commit, 2026-11-01, 2026-11-01T14:00, or 3h for three hours ago.",
        ),
    ] = None,
    agent: AgentOption = None,
    output: OutputOption = "table",
) -> None:
    """Explain how a request is routed, step by step. Exit code 1: it would not be served."""
    options = {"host": host, "client": client, "path": path, "method": method, "at": at, "agents": agent or []}
    run(settings_of(context), "edge", "where", **options, output=form(output))


@edge_app.command(
    epilog=example("shopctl edge status", "shopctl edge status --agent http://edge-1.example.com:8405 -o wide")
)
def status(context: typer.Context, agent: AgentOption = None, output: OutputOption = "table") -> None:
    """Show each edge: the version that it applied against git, and what is wrong. Exit code 1: one is not in order."""
    run(settings_of(context), "edge_following", "status", agents=agent or [], output=form(output))


@edge_app.command(epilog=example("shopctl edge diff", "shopctl edge diff --agent http://edge-1.example.com:8405"))
def diff(context: typer.Context, agent: AgentOption = None, output: OutputOption = "table") -> None:
    """Show what edges have not applied yet of what git says. Exit code 2: there is something."""
    run(settings_of(context), "edge_following", "diff", agents=agent or [], output=form(output))


@edge_app.command(
    epilog=example(
        "shopctl edge config > haproxy.cfg",
        "shopctl edge config --state /var/lib/shopset-edge --maps /var/lib/shopset-edge/maps > haproxy.cfg",
    )
)
def config(
    context: typer.Context,
    state: Annotated[
        Path, typer.Option("--state", metavar="DIR", help="The folder that the edge has its files and sockets in.")
    ] = Path("/var/lib/shopset-edge"),
    maps: Annotated[
        Path | None, typer.Option("--maps", metavar="DIR", help="Write the maps there too: hosts.map and moved.map.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="COMMIT|TIME", help="By the placement of then.")] = None,
    http: Annotated[
        list[str] | None, typer.Option("--http", metavar="ADDR", help="Where shoppers come in. [default: *:8080]")
    ] = None,
    https: Annotated[list[str] | None, typer.Option("--https", metavar="ADDR", help="The same with TLS.")] = None,
    metrics: Annotated[str, typer.Option("--metrics", metavar="ADDR", help="Where HAProxy's exporter listens.")] = "",
) -> None:
    """Print HAProxy's configuration as the placement makes it, to run an edge by hand."""
    binds = {"http": http or ["*:8080"], "https": https or [], "metrics": metrics}
    run(settings_of(context), "edge", "config", state=state, maps=maps, at=at, **binds)
