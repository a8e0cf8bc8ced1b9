"""The verbs about shops and clusters with their options. What they do is imported only when one of them runs."""

from typing import Annotated

import typer

from shopset.cli.options import DryRun, OutputOption, Reason, example, form, settings_of
from shopset.cli.running import run

shop_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Shops: where they are, and why.")
cluster_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Clusters: lost, emptied for an upgrade, and brought back."
)
ShopArgument = Annotated[str, typer.Argument(metavar="SHOP", help="A shop's name, or one of its hosts.")]
ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster's name.")]
NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Only the first step; the controller or shopctl run goes on with it.")
]


@shop_app.command("list", epilog=example("shopctl shop list", "shopctl shop list --on a-1 -o name"))
def list_shops(
    context: typer.Context,
    on: Annotated[
        str | None, typer.Option("--on", help="Only those with a replica on this ShopSet or cluster.")
    ] = None,
    shop_class: Annotated[str | None, typer.Option("--class", help="Only those of this class.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50,
    output: OutputOption = "table",
) -> None:
    """List shops with their ShopSets."""
    run(settings_of(context), "shops", "list_shops", on=on, shop_class=shop_class, limit=limit, output=form(output))


@shop_app.command(
    epilog=example(
        "shopctl shop where hoge.shop-pro.jp",
        "shopctl shop where hoge --at 2026-11-01",
        "shopctl shop where hoge -o json",
    )
)
def where(
    context: typer.Context,
    shop: ShopArgument,
    at: Annotated[
        str | None,
        typer.Option("--at", help="As it was then: 2026-11-01, 2026-11-01T14:00, or 3h for three hours ago."),
    ] = None,
    output: OutputOption = "table",
) -> None:
    """Show which ShopSets serve a shop, since when, and why."""
    run(settings_of(context), "shops", "where", shop=shop, at=at, output=form(output))


@shop_app.command(epilog=example("shopctl shop explain hoge"))
def explain(context: typer.Context, shop: ShopArgument) -> None:
    """Say why a shop is where it is, and where else it could be."""
    run(settings_of(context), "shops", "explain", shop=shop)


@shop_app.command(
    epilog=example(
        "shopctl shop add hoge --class standard --host hoge.shop-pro.jp",
        "shopctl shop add big --class standard --host big.example.com --rps 400",
    )
)
def add(
    context: typer.Context,
    shop: Annotated[str, typer.Argument(metavar="SHOP", help="Its name.")],
    shop_class: Annotated[str, typer.Option("--class", help="The ShopClass by which it is placed.")],
    host: Annotated[list[str], typer.Option("--host", help="A name under which shoppers reach it; once for each.")],
    rps: Annotated[float | None, typer.Option(help="Requests per second at its busiest.", min=0.000001)] = None,
    dry_run: DryRun = False,
) -> None:
    """Add a shop; its class decides where it goes."""
    run(settings_of(context), "shops", "add", shop=shop, shop_class=shop_class, hosts=host, rps=rps, dry_run=dry_run)


@shop_app.command(epilog=example("shopctl shop remove hoge"))
def remove(context: typer.Context, shop: ShopArgument, dry_run: DryRun = False) -> None:
    """Remove a shop."""
    run(settings_of(context), "shops", "remove", shop=shop, dry_run=dry_run)


@shop_app.command(epilog=example("shopctl shop move hoge --to b-1 --to c-2 -m 'nearer to its database'"))
def move(
    context: typer.Context,
    shop: ShopArgument,
    to: Annotated[list[str], typer.Option("--to", help="A ShopSet; once for each replica, the primary first.")],
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """Move a shop to other ShopSets, where it stays as long as its class lets it."""
    run(settings_of(context), "shops", "serve", shop=shop, to=to, reason=reason, pinned=False, dry_run=dry_run)


@shop_app.command(epilog=example("shopctl shop pin hoge --to b-1 --to c-2 -m 'load test'"))
def pin(
    context: typer.Context,
    shop: ShopArgument,
    to: Annotated[list[str], typer.Option("--to", help="A ShopSet; once for each replica, the primary first.")],
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """Keep a shop on named ShopSets: only a lost or drained cluster moves it. Undone by: shopctl shop release."""
    run(settings_of(context), "shops", "serve", shop=shop, to=to, reason=reason, pinned=True, dry_run=dry_run)


@shop_app.command(epilog=example("shopctl shop isolate hoge -m 'flash sale at noon'"))
def isolate(context: typer.Context, shop: ShopArgument, reason: Reason, dry_run: DryRun = False) -> None:
    """Give a shop dedicated ShopSets to itself: the isolated environment. Undone by: shopctl shop release."""
    run(settings_of(context), "shops", "isolate", shop=shop, reason=reason, dry_run=dry_run)


@shop_app.command(epilog=example("shopctl shop spread hoge --replicas 3 -m 'rush'"))
def spread(
    context: typer.Context,
    shop: ShopArgument,
    replicas: Annotated[int, typer.Option(help="Over how many ShopSets.", min=2, max=16)],
    reason: Reason,
    dry_run: DryRun = False,
) -> None:
    """Spread a hot shop over several ShopSets that serve it side by side. Undone by: shopctl shop release."""
    run(settings_of(context), "shops", "spread", shop=shop, replicas=replicas, reason=reason, dry_run=dry_run)


@shop_app.command("release", epilog=example("shopctl shop release hoge -m 'the sale is over'"))
def release_shop(context: typer.Context, shop: ShopArgument, reason: Reason, dry_run: DryRun = False) -> None:
    """Let the class decide again for a shop that was pinned, isolated or spread."""
    run(settings_of(context), "shops", "release", shop=shop, reason=reason, dry_run=dry_run)


@cluster_app.command(
    epilog=example("shopctl cluster lost a -m 'power failure' --dry-run", "shopctl cluster lost a -m 'power failure'")
)
def lost(
    context: typer.Context, cluster: ClusterArgument, reason: Reason, dry_run: DryRun = False, no_wait: NoWait = False
) -> None:
    """Declare a cluster lost: its shops are re-placed at once. Undone by: shopctl cluster return."""
    run(settings_of(context), "clusters", "lose", cluster=cluster, reason=reason, dry_run=dry_run, wait=not no_wait)


@cluster_app.command(
    epilog=example("shopctl cluster drain a --for-upgrade v1.37.0 --dry-run", "shopctl cluster drain a -m 'new disks'")
)
def drain(
    context: typer.Context,
    cluster: ClusterArgument,
    version: Annotated[
        str,
        typer.Option(
            "--for-upgrade",
            metavar="VERSION",
            help="The Kubernetes version that it is upgraded to; its shops return only to that.",
        ),
    ] = "",
    reason: Reason = "",
    during_bake: Annotated[
        bool, typer.Option("--during-bake", help="Also while a tier of its ShopSets is being verified.")
    ] = False,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
) -> None:
    """Move all shops off a cluster in waves, none with fewer replicas than it had. Undone by: shopctl cluster return."""
    options = {
        "version": version,
        "reason": reason,
        "during_bake": during_bake,
        "dry_run": dry_run,
        "wait": not no_wait,
    }
    run(settings_of(context), "clusters", "drain", cluster=cluster, **options)


@cluster_app.command("return", epilog=example("shopctl cluster return a -m 'upgraded'"))
def bring_back(
    context: typer.Context,
    cluster: ClusterArgument,
    reason: Reason = "",
    dry_run: DryRun = False,
    no_wait: NoWait = False,
) -> None:
    """Bring the shops of a lost or drained cluster back in waves, once its ShopSets are Synced at their pins."""
    run(
        settings_of(context),
        "clusters",
        "bring_back",
        cluster=cluster,
        reason=reason,
        dry_run=dry_run,
        wait=not no_wait,
    )


@cluster_app.command("list", epilog=example("shopctl cluster list"))
def list_clusters(context: typer.Context, output: OutputOption = "table") -> None:
    """List clusters: state, ShopSets, shops, and how loaded they are."""
    run(settings_of(context), "clusters", "list_clusters", output=form(output))


def rebalance(
    context: typer.Context,
    max_moves: Annotated[int, typer.Option("--max-moves", help="How many shops may move.", min=1)],
    reason: Reason = "loads are uneven",
    dry_run: DryRun = False,
) -> None:
    """Move a few shops so that loads are more even."""
    run(settings_of(context), "clusters", "rebalance", most=max_moves, reason=reason, dry_run=dry_run)
