"""The verbs of shopctl with their options. What they do is imported only when one of them runs."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from shopset.cli import exits
from shopset.cli.edge_verbs import edge_app
from shopset.cli.options import ChangesOption, DataOption, DryRun, OutputOption, Reason
from shopset.cli.options import example as _example
from shopset.cli.options import form as _form
from shopset.cli.options import settings_of as _settings
from shopset.cli.placing_verbs import cluster_app, rebalance, shop_app
from shopset.cli.running import run as _run
from shopset.cli.settings import from_environment
from shopset.versions import version_option

_CODES = "; ".join(f"{code} {meaning}" for code, meaning in exits.MEANINGS.items())

app = typer.Typer(
    name="shopctl",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog=f"Exit codes: {_CODES}.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
release_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="How releases stand, and what people ask for."
)
app.add_typer(release_app, name="release")
app.add_typer(shop_app, name="shop")
app.add_typer(cluster_app, name="cluster")
app.add_typer(edge_app, name="edge")
app.command(epilog=_example("shopctl rebalance --max-moves 500 --dry-run"))(rebalance)


@app.callback()
def _options(
    context: typer.Context,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", "-f", help="The fleet's folder. [env: SHOPSET_FLEET; default: .]")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where copies of the repositories are kept. [env: SHOPSET_CACHE]")
    ] = None,
    identity: Annotated[
        str | None, typer.Option("--as", help="Who asks, as 'Name <mail>'. [default: as git knows you]")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that one call of git or kustomize may take.", min=0.1)] = 60.0,
    kubeconfig: Annotated[
        str | None, typer.Option(help="A kubeconfig: the fleet is read from its cluster, and not from a folder.")
    ] = None,
    cluster_context: Annotated[
        str | None, typer.Option("--context", help="A context of the kubeconfig, whose cluster has the fleet.")
    ] = None,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="The namespace that the fleet is in.")
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Write without colour. [env: NO_COLOR]")] = False,
    version: Annotated[bool, version_option("shopctl")] = False,
) -> None:
    """Run N copies of a platform as if they were one: release tier by tier, look, and debug.

    Global options may stand anywhere.
    """
    del version
    context.obj = from_environment(
        fleet,
        cache,
        identity,
        timeout,
        no_colour=no_color,
        kubeconfig=kubeconfig,
        context=cluster_context,
        namespace=namespace,
    )


TierArgument = Annotated[str, typer.Argument(metavar="TIER", help="A tier's name.")]


def _bake(value: str | None) -> timedelta | None:
    if value is None:
        return None
    from shopset.api import InvalidValueError, parse_duration  # noqa: PLC0415  # --help must not pay for pydantic

    try:
        return parse_duration(value)
    except InvalidValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command(
    epilog=_example(
        "shopctl init fleet --repositories git --create",
        "shopctl init fleet --repositories https://git.example.com/team",
    )
)
def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to write the fleet to.")],
    repositories: Annotated[str, typer.Option(help="What the three repositories lie under: a URL or a folder.")],
    create: Annotated[
        bool, typer.Option("--create", help="Make the repositories there too, with an example platform.")
    ] = False,
) -> None:
    """Write an example fleet to start from."""
    _run(_settings(context), "initialising", "init", folder=folder, repositories=repositories, create=create)


@app.command(epilog=_example("shopctl validate fleet/", "shopctl validate -o json"))
def validate(
    context: typer.Context,
    folder: Annotated[Path | None, typer.Argument(help="The fleet's folder, instead of --fleet.")] = None,
    output: DataOption = "table",
) -> None:
    """Check a fleet's folder: each error with file, line, field and what to do."""
    from dataclasses import replace  # noqa: PLC0415  # beside its one use

    settings = _settings(context)
    _run(replace(settings, fleet=folder or settings.fleet), "validating", "validate", output=_form(output))


@app.command(
    epilog=_example(
        "shopctl get shopsets", "shopctl get tier prod -o yaml", "shopctl get releases", "shopctl get ss -o wide"
    )
)
def get(
    context: typer.Context,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="tiers, shopsets, clusters, releases, pins, approvals, holds, …")
    ],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Only this one.")] = None,
    output: OutputOption = "table",
) -> None:
    """List objects: what the fleet says, and what was observed."""
    _run(_settings(context), "getting", "get", kind=kind, name=name, output=_form(output))


@app.command(epilog=_example("shopctl describe tier prod", "shopctl describe shopset a-1"))
def describe(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND")],
    name: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Show one object with its spec and conditions."""
    _run(_settings(context), "getting", "describe", kind=kind, name=name)


@app.command(epilog=_example("shopctl plan", "shopctl plan --commands | less", "shopctl plan -o json"))
def plan(
    context: typer.Context,
    commands: Annotated[
        bool, typer.Option("--commands", help="Print only the shell commands that do the same by hand.")
    ] = False,
    output: DataOption = "table",
) -> None:
    """Show what would be done now, and why. Exit code 2: there is something to do."""
    _run(_settings(context), "planning", "plan", as_commands=commands, output=_form(output))


@app.command(epilog=_example("shopctl apply", "shopctl apply --yes"))
def apply(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking.")] = False,
) -> None:
    """Do what the plan says, and what follows from it at once."""
    _run(_settings(context), "planning", "apply", yes=yes)


@app.command(epilog=_example("shopctl run", "shopctl run --once", "shopctl run --until-idle"))
def run(
    context: typer.Context,
    interval: Annotated[float, typer.Option(help="Seconds between two looks at the most.", min=0.1)] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="One round, then end.")] = False,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="End when nothing is under way any more.")] = False,
) -> None:
    """Keep the fleet: plan, act, wait, over and over (where no controller runs)."""
    _run(_settings(context), "planning", "run", interval=interval, once=once, until_idle=until_idle)


@app.command(
    epilog=_example(
        "shopctl simulate --lose cluster=a",
        "shopctl simulate --lose region=tokyo --lose shopset=b-1 -o wide",
        "shopctl simulate --demand x2 --class standard",
    )
)
def simulate(
    context: typer.Context,
    lose: Annotated[
        list[str] | None, typer.Option(metavar="LEVEL=DOMAIN", help="What is lost, as in cluster=a; several together.")
    ] = None,
    demand: Annotated[str, typer.Option(metavar="FACTOR", help="By what demand is multiplied, as in x2.")] = "x1",
    shop_class: Annotated[
        list[str] | None, typer.Option("--class", metavar="CLASS", help="Of which class demand grows. [default: all]")
    ] = None,
    output: OutputOption = "table",
) -> None:
    """Show what a loss or more demand would mean: who is down, how loads are, what to add where. Nothing is done."""
    options = {"lose": lose or [], "demand": demand, "classes": shop_class or []}
    _run(_settings(context), "simulating", "simulation", **options, output=_form(output))


@app.command(
    epilog=_example("shopctl capacity", "shopctl capacity prod -o wide", "shopctl capacity prod --estimate --since 7d")
)
def capacity(
    context: typer.Context,
    tier: Annotated[str | None, typer.Argument(metavar="TIER", help="Only this tier.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="What ShopSets bear, by their saturation in Prometheus.")
    ] = False,
    since: Annotated[str, typer.Option(callback=_bake, metavar="DURATION", help="How far back to look.")] = "1d",
    output: OutputOption = "table",
) -> None:
    """Show how many shops tiers still take, ShopSets clusters hold, and connections databases have left."""
    if estimate:
        _run(_settings(context), "capacity", "estimates", tier=tier, since=since, output=_form(output))
    _run(_settings(context), "capacity", "capacity", tier=tier, output=_form(output))


@app.command("check-push", epilog=_example("echo 'exec shopctl check-push' > shopset-system.git/hooks/pre-receive"))
def check_push(
    context: typer.Context,
    repository: Annotated[Path | None, typer.Argument(help="The bare repository. [default: $GIT_DIR, else .]")] = None,
) -> None:
    """Refuse a push to shopset-system that breaks a rule: a pre-receive hook; reads 'old new ref' lines."""
    _run(_settings(context), "pushes", "check", repository=repository)


@app.command(
    epilog=_example(
        "source <(shopctl completion bash)", "shopctl completion fish > ~/.config/fish/completions/shopctl.fish"
    )
)
def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> None:
    """Print the script that completes shopctl's words in a shell."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415  # beside its one use

    if shell not in ("bash", "zsh", "fish"):
        raise typer.BadParameter("it is one of bash, zsh, fish")
    typer.echo(get_completion_script(prog_name="shopctl", complete_var="_SHOPCTL_COMPLETE", shell=shell))


@app.command(
    epilog=_example(
        "shopctl demo", "shopctl demo --dir /tmp/fleet", "shopctl demo --apps my/base --configuration my/components"
    )
)
def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--dir", help="Where everything is left for you to look at. [default: a new folder]")
    ] = None,
    apps: Annotated[
        Path | None, typer.Option(help="Your own kustomize bases, instead of the example platform.")
    ] = None,
    configuration: Annotated[
        Path | None,
        typer.Option(
            help="Your own kustomize components, each folder a configuration, given to the ShopSets in order."
        ),
    ] = None,
) -> None:
    """Play the whole story on this machine: releases, shops and their shoppers, a lost cluster, an upgrade, a rush."""
    _run(_settings(context), "demo.playing", "demo", folder=folder, apps=apps, configuration=configuration)


@release_app.command(epilog=_example("shopctl release status", "shopctl release status -o json"))
def status(context: typer.Context, output: DataOption = "table") -> None:
    """Show which revision is where, and what comes next."""
    _run(_settings(context), "releasing", "status", output=_form(output))


@release_app.command(epilog=_example("shopctl release watch", "shopctl release watch b81e0a9 --until beta"))
def watch(
    context: typer.Context,
    revision: Annotated[str | None, typer.Argument(metavar="REVISION", help="[default: the newest]")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIER", help="Up to this tier. [default: the last one]")] = None,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 1.0,
) -> None:
    """Show how a release climbs, until a tier has verified it. Exit code 1: it was rejected or superseded."""
    _run(_settings(context), "watching", "watch", revision=revision, until=until, interval=interval)


@release_app.command(epilog=_example("shopctl release explain b81e0a9 --tier prod"))
def explain(
    context: typer.Context,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="At least 4 digits of its id.")],
    tier: Annotated[str | None, typer.Option(help="Only this tier.")] = None,
    output: DataOption = "table",
) -> None:
    """Say why a tier has a revision, or why not, and when it may."""
    _run(_settings(context), "releasing", "explain", revision=revision, tier=tier, output=_form(output))


@release_app.command(epilog=_example("shopctl release history", "shopctl release history prod -o json"))
def history(
    context: typer.Context,
    tier: Annotated[str | None, typer.Argument(metavar="TIER", help="Only this tier.")] = None,
    output: DataOption = "table",
    limit: Annotated[int, typer.Option(help="At most so many entries.", min=1)] = 30,
) -> None:
    """Show the audit trail, newest first."""
    _run(_settings(context), "releasing", "history", tier=tier, output=_form(output), limit=limit)


@release_app.command(
    epilog=_example(
        "shopctl release diff",
        "shopctl release diff b81e0a9 --tier prod",
        "shopctl release diff b81e0a9 --against 7f3c1d2",
    )
)
def diff(
    context: typer.Context,
    revision: Annotated[
        str | None, typer.Argument(metavar="REVISION", help="[default: what each tier would take next]")
    ] = None,
    tier: Annotated[str | None, typer.Option(help="Only this tier.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with this revision. [default: what each tier has]")
    ] = None,
    output: ChangesOption = "table",
) -> None:
    """Show the manifests that would change, rendered, per ShopSet, grouped where the same."""
    _run(_settings(context), "releasing", "diff", revision=revision, tier=tier, against=against, output=_form(output))


@release_app.command(epilog=_example("shopctl release approve prod b81e0a9 --reason 'load test passed'"))
def approve(
    context: typer.Context,
    tier: TierArgument,
    revision: Annotated[str, typer.Argument(metavar="REVISION")],
    reason: Reason,
    bake: Annotated[
        str | None, typer.Option(help="Stands in for the tier's bake, as in 5m; recorded as an override.")
    ] = None,
    expedite: Annotated[
        bool, typer.Option("--expedite", help="Do not wait for what is still being verified; recorded.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Approve that a revision enters a tier."""
    options = {
        "tier": tier,
        "revision": revision,
        "reason": reason,
        "bake": _bake(bake),
        "expedite": expedite,
        "dry_run": dry_run,
    }
    _run(_settings(context), "releasing", "approve", **options)


@release_app.command(epilog=_example("shopctl release hold prod --reason 'sale until Sunday'"))
def hold(context: typer.Context, tier: TierArgument, reason: Reason, dry_run: DryRun = False) -> None:
    """Let nothing enter a tier until it is resumed."""
    _run(_settings(context), "releasing", "hold", tier=tier, reason=reason, dry_run=dry_run)


@release_app.command(epilog=_example("shopctl release resume prod --reason 'the sale is over'"))
def resume(
    context: typer.Context,
    tier: TierArgument,
    reason: Reason = "resumed",
    name: Annotated[str | None, typer.Option(help="Only this hold. [default: all]")] = None,
    dry_run: DryRun = False,
) -> None:
    """Lift the holds of a tier."""
    _run(_settings(context), "releasing", "resume", tier=tier, name=name, reason=reason, dry_run=dry_run)


@release_app.command(
    epilog=_example(
        "shopctl release rollback prod --reason 'carts fail'",
        "shopctl release rollback prod --to 7f3c1d2 -m 'carts fail'",
    )
)
def rollback(
    context: typer.Context,
    tier: TierArgument,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option(help="The revision to go back to. [default: the last one that the tier verified]")
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Take a tier back: pins the earlier revision, rejects the present one, and holds the tier."""
    _run(_settings(context), "releasing", "rollback", tier=tier, to=to, reason=reason, dry_run=dry_run)


@release_app.command(epilog=_example("shopctl release retry beta --reason 'the registry was down'"))
def retry(
    context: typer.Context,
    tier: TierArgument,
    revision: Annotated[str | None, typer.Argument(metavar="REVISION", help="[default: what is pinned]")] = None,
    reason: Reason = "retried",
    dry_run: DryRun = False,
) -> None:
    """Lift a rejection; what is pinned is verified anew."""
    _run(_settings(context), "releasing", "retry", tier=tier, revision=revision, reason=reason, dry_run=dry_run)


@release_app.command(epilog=_example("shopctl release adopt prod --reason 'it runs there since 2021'"))
def adopt(context: typer.Context, tier: TierArgument, reason: Reason, dry_run: DryRun = False) -> None:
    """Take over what a tier's branches hold today, without the order; only where nothing was ever pinned."""
    _run(_settings(context), "releasing", "adopt", tier=tier, reason=reason, dry_run=dry_run)


@release_app.command(
    epilog=_example(
        "shopctl release hotfix prod --apps fix-cart --bake 2m --reason 'carts fail'",
        "shopctl release hotfix prod --discard -m 'drop the stray commit'",
    )
)
def hotfix(
    context: typer.Context,
    tier: TierArgument,
    reason: Reason,
    apps: Annotated[
        str | None, typer.Option(help="Branch or commit of the fix in shopset-apps. [default: the tier's own branch]")
    ] = None,
    configuration: Annotated[str | None, typer.Option(help="Likewise in shopset-configuration.")] = None,
    bake: Annotated[
        str | None, typer.Option(help="Stands in for the tiers' bakes, as in 2m; recorded as an override.")
    ] = None,
    discard: Annotated[
        bool, typer.Option("--discard", help="Only mend a branch that diverged; keep the lowest tier's content.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Bring a fix based on a tier's pin to the lowest tier, from where it climbs ahead of pending work."""
    options = {
        "apps": apps,
        "configuration": configuration,
        "bake": _bake(bake),
        "discard": discard,
        "dry_run": dry_run,
    }
    _run(_settings(context), "releasing", "hotfix", tier=tier, reason=reason, **options)


ShopSetArgument = Annotated[str, typer.Argument(metavar="SHOPSET", help="A ShopSet's name.")]
ComponentArgument = Annotated[
    str,
    typer.Argument(
        metavar="COMPONENT", help="Name of a Deployment or StatefulSet, or kind/name, as in api or pod/api-x."
    ),
]
OptionalComponent = Annotated[
    str | None,
    typer.Argument(metavar="COMPONENT", help="Name of a Deployment or StatefulSet, or kind/name. [default: all]"),
]
ContainerOption = Annotated[
    str | None, typer.Option("--container", "-c", help="Only this container. [default: kubectl's choice]")
]
CommandOnly = Annotated[bool, typer.Option("--dry-run", help="Print the kubectl command, and do not run it.")]


@app.command(
    epilog=_example(
        "shopctl logs a-1",
        "shopctl logs a-1 cart -f --since 10m",
        "shopctl logs a-1 cart --previous    # why it crashed",
    )
)
def logs(
    context: typer.Context,
    shopset: ShopSetArgument,
    component: OptionalComponent = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as more is logged.")] = False,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the containers before they crashed.")] = False,
    since: Annotated[str | None, typer.Option(help="Only what is newer, as in 10m.")] = None,
    tail: Annotated[
        int | None,
        typer.Option(help="Lines of each container, -1 for all. [default: all, or 10 without COMPONENT]", min=-1),
    ] = None,
    container: Annotated[
        str | None, typer.Option("--container", "-c", help="Only this container. [default: all]")
    ] = None,
    dry_run: CommandOnly = False,
) -> None:
    """Show the logs of a ShopSet: of all its Pods, or of one component's."""
    from shopset.cli.debugging import LogOptions  # noqa: PLC0415  # --help must not pay for it

    options = LogOptions(follow=follow, previous=previous, since=since, tail=tail, container=container)
    _run(
        _settings(context),
        "debugging",
        "logs",
        shopset=shopset,
        component=component,
        options=options,
        dry_run=dry_run,
    )


@app.command(epilog=_example("shopctl events a-1", "shopctl events a-1 --types Warning", "shopctl events a-1 cart -w"))
def events(
    context: typer.Context,
    shopset: ShopSetArgument,
    component: OptionalComponent = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on as more happens.")] = False,
    types: Annotated[str | None, typer.Option(help="Only these, as in Warning.")] = None,
    dry_run: CommandOnly = False,
) -> None:
    """Show what happened in a ShopSet, oldest first; with COMPONENT, to that object itself."""
    options = {"component": component, "watch": watch, "types": types, "dry_run": dry_run}
    _run(_settings(context), "debugging", "events", shopset=shopset, **options)


@app.command(
    "exec",
    epilog=_example("shopctl exec a-1 api", "shopctl exec a-1 api -- env", "shopctl exec a-1 pod/api-x -- ls -l"),
)
def execute(
    context: typer.Context,
    shopset: ShopSetArgument,
    component: ComponentArgument,
    command: Annotated[
        list[str] | None, typer.Argument(metavar="-- COMMAND", help="What to run. [default: sh]")
    ] = None,
    container: ContainerOption = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="Give it what is piped in; at a terminal always.")
    ] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give it a terminal; at a terminal always.")] = False,
    dry_run: CommandOnly = False,
) -> None:
    """Run a command in a Pod of a ShopSet's component."""
    options = {"container": container, "stdin": stdin, "tty": tty, "dry_run": dry_run}
    words = command or ["sh"]
    _run(_settings(context), "debugging", "execute", shopset=shopset, component=component, command=words, **options)


@app.command(
    "port-forward", epilog=_example("shopctl port-forward a-1 api 8080", "shopctl port-forward a-1 api 9000:8080")
)
def port_forward(
    context: typer.Context,
    shopset: ShopSetArgument,
    component: ComponentArgument,
    ports: Annotated[list[str], typer.Argument(metavar="[LOCAL:]REMOTE", help="Ports of the component.")],
    dry_run: CommandOnly = False,
) -> None:
    """Reach ports of a ShopSet's component from this machine."""
    options = {"component": component, "ports": ports, "dry_run": dry_run}
    _run(_settings(context), "debugging", "port_forward", shopset=shopset, **options)


@app.command("open", epilog=_example("shopctl open a-1", "shopctl open a-1 --print"))
def open_endpoint(
    context: typer.Context,
    shopset: ShopSetArgument,
    print_only: Annotated[bool, typer.Option("--print", help="Only print the URL.")] = False,
) -> None:
    """Open a ShopSet in the browser, where its shops are reached, and print the URL."""
    _run(_settings(context), "debugging", "open_endpoint", shopset=shopset, print_only=print_only)
