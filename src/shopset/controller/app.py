"""The command shopset-controller."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import platformdirs
import typer

from shopset import logs
from shopset.controller.running import Election
from shopset.controller.running import run as run_controller
from shopset.controller.serving import Ports
from shopset.controller.settings import LONGEST_CALL, Settings
from shopset.core.errors import ShopsetError
from shopset.kube.clients import connect
from shopset.kube.leases import Terms
from shopset.versions import show_version, version_option

app = typer.Typer(
    name="shopset-controller",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


@app.callback()
def _options(
    *,
    version: Annotated[bool, version_option("shopset-controller")] = False,  # the verb `version` says the same
) -> None:
    """Keep a fleet that is described by objects of Kubernetes. Exit codes: 0 told to end; 1 it cannot go on, see the log."""
    del version


@app.command()
def version() -> None:
    """Show the version."""
    show_version("shopset-controller")


@app.command()
def run(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="The fleet's. [default: its own]")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="A kubeconfig. [default: as kubectl, or the Pod's]")] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    leader_elect: Annotated[bool, typer.Option(help="Act only while holding the Lease shopset-controller.")] = False,
    lease_duration: Annotated[int, typer.Option(help="Seconds that others wait for a silent leader.", min=3)] = 15,
    git_credentials: Annotated[
        Path | None, typer.Option(help="Folder with the files username and password, read anew at each use.")
    ] = None,
    secrets: Annotated[
        Path | None, typer.Option(help="Folder with a folder for each Secret that spec.monitoring names.")
    ] = None,
    shops: Annotated[
        Path | None, typer.Option(help="Folder that the paths of spec.shops.sources are relative to.")
    ] = None,
    members: Annotated[
        Path | None,
        typer.Option(help="A kubeconfig with a context for each Cluster, for Pods, versions and failover; read anew."),
    ] = None,
    webhook_secret: Annotated[
        Path | None, typer.Option(help="File with the secret of git's webhooks; without one none is taken.")
    ] = None,
    admission_certificate: Annotated[
        Path | None,
        typer.Option(help="Folder with tls.crt and tls.key of the admission webhook; without one it is not there."),
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "0.0.0.0",  # noqa: S104  # as in a Pod
    health_port: Annotated[int, typer.Option(help="Of /healthz and /readyz; -1: none.")] = 8080,
    metrics_port: Annotated[int, typer.Option(help="Of /metrics; -1: none.")] = 9090,
    webhook_port: Annotated[int, typer.Option(help="Of /webhooks/git; -1: none.")] = 8081,
    admission_port: Annotated[int, typer.Option(help="Of /admission, over TLS; -1: none.")] = 9443,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at git without news.", min=0.1)] = 60,
    resync: Annotated[float, typer.Option(help="Seconds between two lists of all objects.", min=1)] = 300,
    timeout: Annotated[float, typer.Option(help="Seconds of one call of git, kustomize or the API.", min=1)] = 60,
    cache: Annotated[Path | None, typer.Option(help="Where copies of the repositories are kept.")] = None,
    log_format: Annotated[logs.LogForm, typer.Option(help="json or text.")] = logs.LogForm.JSON,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Watch, plan, act and tell, until SIGTERM.

    Everything that it does, a person can do with git and kubectl: shopctl plan --commands prints how.
    """
    logs.set_up(log_format.value, log_level)
    try:
        client = connect(kubeconfig, context, min(timeout, LONGEST_CALL))
        settings = Settings(
            namespace=namespace or client.namespace,
            # git and kustomize run in other folders than this one.
            cache=(cache or platformdirs.user_cache_path("shopset") / "controller").absolute(),
            git_credentials=git_credentials.absolute() if git_credentials else None,
            secrets=secrets.absolute() if secrets else None,
            shops=shops.absolute() if shops else None,
            members=members.absolute() if members else None,
            kustomize=os.environ.get("SHOPSET_KUSTOMIZE") or None,
            poll=poll,
            resync=resync,
            timeout=timeout,
        )
        ports = Ports(host, _port(health_port), _port(metrics_port), _port(webhook_port), _port(admission_port))
        election = None
        if leader_elect:
            terms = _terms(lease_duration)
            election = Election(connect(kubeconfig, context, terms.retry), terms)
        code = asyncio.run(run_controller(client, settings, ports, election, webhook_secret, admission_certificate))
    except (ShopsetError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        code = 1
    raise typer.Exit(code)


def _port(given: int) -> int | None:
    return None if given < 0 else given


def _terms(duration: int) -> Terms:
    """Return client-go's proportions."""
    return Terms(duration, duration * 2 / 3, duration * 2 / 15)
