"""The command shopset-edge."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from shopset import logs
from shopset.core.errors import ShopsetError
from shopset.edge.places import Place
from shopset.edge_agent.certificate_secrets import Secrets, parse_labels
from shopset.edge_agent.checking import findings, said_of
from shopset.edge_agent.folders import StateError, StateFolder
from shopset.edge_agent.rendering import render as render_files
from shopset.edge_agent.running import Given, make_branch
from shopset.edge_agent.running import run as run_agent
from shopset.edge_agent.runtime import Runtime
from shopset.edge_agent.settings import Settings, fitting_connections
from shopset.engine.workplaces import credential_environment
from shopset.versions import show_version, version_option

app = typer.Typer(
    name="shopset-edge",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


State = Annotated[Path, typer.Option(help="The folder that HAProxy's files are in; of this edge alone.")]
Repository = Annotated[str, typer.Option(help="The system repository: a URL or a folder.")]
Credentials = Annotated[
    Path | None, typer.Option(help="Folder with the files username and password, read anew at each use.")
]
Program = Annotated[Path | None, typer.Option(help="HAProxy. With it the agent starts HAProxy where none runs.")]
Http = Annotated[list[str] | None, typer.Option(help="Address for shoppers, as in *:8080; repeatable.")]
Https = Annotated[
    list[str] | None, typer.Option(help="The same with TLS; needs --certificates or --certificate-secrets.")
]
Metrics = Annotated[str, typer.Option(help="Address of HAProxy's exporter; without one there is none.")]
AcceptProxy = Annotated[bool, typer.Option(help="Shoppers come through a balancer that speaks the PROXY protocol.")]
Trusted = Annotated[
    list[str] | None, typer.Option(help="Network of HTTP proxies whose X-Forwarded-For is believed; repeatable.")
]
Threads = Annotated[int, typer.Option(help="Of HAProxy; 0: one for each CPU.", min=0)]
Connections = Annotated[
    int | None,
    typer.Option(
        help="Of shoppers, at once. [default: 20000, or what the limit of open files bears: four each]", min=1
    ),
]
Log = Annotated[str, typer.Option(help="Where access logs go, as in 127.0.0.1:514; without it there are none.")]
Authorities = Annotated[
    str,
    typer.Option(
        help="File with the certificates of the authorities that ShopSets with HTTPS are signed by; @system-ca: the machine's."
    ),
]
Silence = Annotated[
    int, typer.Option(help="Seconds for which a ShopSet or a client may be silent in a request.", min=1)
]
User = Annotated[str, typer.Option(help="HAProxy's user, where it is started as root.")]
Group = Annotated[str, typer.Option(help="Its group.")]
Spares = Annotated[int, typer.Option(help="Backends for ShopSets to come, which then need no reload.", min=0)]
Timeout = Annotated[float, typer.Option(help="Seconds of one call of git.", min=1)]


@app.callback()
def _options(
    *,
    version: Annotated[bool, version_option("shopset-edge")] = False,  # the verb `version` says the same
) -> None:
    """Keep an HAProxy that leads each shop's requests to its ShopSets, as the branch placement says.

    Exit codes: 0 done, or told to end; 1 it cannot go on, or something is wrong.
    """
    del version


@app.command()
def version() -> None:
    """Show the version."""
    show_version("shopset-edge")


@app.command()
def run(
    state: State,
    repository: Repository,
    haproxy: Program = None,
    http: Http = None,
    https: Https = None,
    certificates: Annotated[
        list[Path] | None, typer.Option(help="Folder with NAME.pem or NAME/tls.crt and tls.key; repeatable.")
    ] = None,
    certificate_secrets: Annotated[
        str, typer.Option(help="Namespace whose Secrets of type kubernetes.io/tls are certificates as well.")
    ] = "",
    certificate_labels: Annotated[str, typer.Option(help="Only those with these labels, as in a=b,c=d.")] = "",
    kubeconfig: Annotated[Path | None, typer.Option(help="Where their API server is. [default: as kubectl]")] = None,
    context: Annotated[str | None, typer.Option(help="A context of it.")] = None,
    metrics: Metrics = "",
    accept_proxy: AcceptProxy = False,
    trusted_proxy: Trusted = None,
    threads: Threads = 0,
    connections: Connections = None,
    log: Log = "",
    authorities: Authorities = "@system-ca",
    silence: Silence = 60,
    user: User = "",
    group: Group = "",
    spares: Spares = 16,
    git_credentials: Credentials = None,
    webhook_secret: Annotated[
        Path | None, typer.Option(help="File with the secret of git's webhooks; without one none is taken.")
    ] = None,
    poll: Annotated[float, typer.Option(help="Seconds between two looks at git without news.", min=0.1)] = 30,
    timeout: Timeout = 60,
    listen: Annotated[
        str, typer.Option(help="Address of /healthz, /readyz, /status, /metrics, /demand and /webhooks/git.")
    ] = "127.0.0.1:8405",
    top: Annotated[int, typer.Option(help="Shops whose demand is exported one by one.", min=0)] = 1000,
    log_format: Annotated[logs.LogForm, typer.Option(help="json or text.")] = logs.LogForm.JSON,
    log_level: Annotated[str, typer.Option(help="debug, info, warning or error.")] = "info",
) -> None:
    """Follow git, and bring HAProxy where it is, until SIGTERM. HAProxy goes on then.

    shopset-edge run --state /var/lib/shopset-edge --repository https://git.example.com/shopset-system
    --haproxy /usr/sbin/haproxy --http '*:80'
    """
    logs.set_up(log_format.value, log_level)
    try:
        host, port = _address(listen)
        folder = StateFolder.at(state)
        place = _place(
            folder,
            http=http,
            https=https,
            metrics=metrics,
            accept_proxy=accept_proxy,
            trusted_proxies=trusted_proxy,
            threads=threads,
            connections=connections,
            log=log,
            authorities=authorities,
            silence=silence,
            user=user,
            group=group,
            spares=spares,
        )
        given = Given(
            folder,
            place,
            _repository(repository),
            _environment(git_credentials),
            Settings(poll=poll),
            timeout,
            _absolute(haproxy),
            host,
            port,
            webhook_secret,
            tuple(each.absolute() for each in certificates or ()),
            _secrets(certificate_secrets, certificate_labels, kubeconfig, context),
            top,
        )
        code = asyncio.run(run_agent(given))
    except (ShopsetError, OSError, ValueError) as error:
        _fail(error)
    raise typer.Exit(code)


@app.command()
def render(
    state: State,
    repository: Repository,
    commit: Annotated[str, typer.Option(help="Of the branch placement. [default: its head]")] = "",
    haproxy: Program = None,
    http: Http = None,
    https: Https = None,
    metrics: Metrics = "",
    accept_proxy: AcceptProxy = False,
    trusted_proxy: Trusted = None,
    threads: Threads = 0,
    connections: Connections = None,
    log: Log = "",
    authorities: Authorities = "@system-ca",
    silence: Silence = 60,
    user: User = "",
    group: Group = "",
    spares: Spares = 16,
    git_credentials: Credentials = None,
    timeout: Timeout = 60,
) -> None:
    """Write HAProxy's files for a commit, as the agent does, while no agent runs. Nothing is judged: you said so.

    shopset-edge render --state /var/lib/shopset-edge --repository /srv/git/shopset-system.git --commit 1a2b3c4
    """
    try:
        folder = StateFolder.at(state)
        place = _place(
            folder,
            http=http,
            https=https,
            metrics=metrics,
            accept_proxy=accept_proxy,
            trusted_proxies=trusted_proxy,
            threads=threads,
            connections=connections,
            log=log,
            authorities=authorities,
            silence=silence,
            user=user,
            group=group,
            spares=spares,
        )
        given = Given(
            folder,
            place,
            _repository(repository),
            _environment(git_credentials),
            timeout=timeout,
            haproxy=_absolute(haproxy),
        )
        made = render_files(given, make_branch(given), commit)
    except (ShopsetError, OSError, ValueError) as error:
        _fail(error)
    typer.echo(f"{folder.configuration}: {sum(made.groups.values()):,} hosts of {made.commit[:12]}")
    typer.echo(f"Have HAProxy read it:  shopset-edge ask --state {folder.path} --master reload")


@app.command()
def check(state: State, haproxy: Program = None) -> None:
    """Check the files of a state folder, and that HAProxy holds what they say. Nothing is changed.

    shopset-edge check --state /var/lib/shopset-edge --haproxy /usr/sbin/haproxy
    """
    try:
        wrong = findings(StateFolder.at(state), _absolute(haproxy))
    except (ShopsetError, OSError) as error:
        _fail(error)
    for each in wrong:
        typer.echo(each)
    if wrong:
        raise typer.Exit(1)
    typer.echo("HAProxy holds what the files say")


@app.command()
def ask(
    state: State,
    command: Annotated[str, typer.Argument(help="As HAProxy's management guide has it; -: from standard input.")],
    master: Annotated[
        bool, typer.Option("--master", help="Ask its master process, as in show proc and reload.")
    ] = False,
) -> None:
    """Ask HAProxy something at its socket, and show the answer. No agent has to run.

    shopset-edge ask --state /var/lib/shopset-edge 'show servers state'
    """
    run = StateFolder(state.absolute()).run
    # The line that ends a payload is empty, and stays.
    text = sys.stdin.read().removesuffix("\n") if command == "-" else command
    try:
        typer.echo(Runtime(run / ("master.sock" if master else "haproxy.sock")).ask(text), nl=False)
    except ShopsetError as error:
        _fail(error)


@app.command()
def where(
    state: State, host: Annotated[str, typer.Argument(help="As a shopper's request has it, without a port.")]
) -> None:
    """Show what HAProxy's maps say of a host: what counts first, then what the overlay says of its route. No agent has to run.

    shopset-edge where --state /var/lib/shopset-edge hoge.example.com
    """
    try:
        found = said_of(StateFolder(state.absolute()), host)
    except ShopsetError as error:
        _fail(error)
    for each in found:
        typer.echo("  ".join(each))
    if not found:
        _fail(ShopsetError(f"no map of HAProxy has {host}, by its name or by *"))


@app.command()
def accept(state: State, commit: Annotated[str, typer.Argument(help="The commit, at least 7 digits of it.")]) -> None:
    """Route by a commit that the agent refused. It takes notice at once.

    shopset-edge accept --state /var/lib/shopset-edge 1a2b3c4d5e6f
    """
    try:
        if len(commit) < 7 or set(commit) - set("0123456789abcdef"):
            raise StateError(
                f"{commit!r} is no commit: write at least 7 of its digits, as shopset-edge status shows them"
            )
        StateFolder.at(state).accept(commit)
    except ShopsetError as error:
        _fail(error)
    typer.echo(f"{commit} is accepted")


@app.command()
def status(
    agent: Annotated[str, typer.Option(help="The agent's address.")] = "http://127.0.0.1:8405",
) -> None:
    """Show what an agent says of itself, as JSON.

    shopset-edge status --agent http://edge-1.example.com:8405
    """
    try:
        with urllib.request.urlopen(f"{agent.rstrip('/')}/status", timeout=10) as answer:  # noqa: S310  # a person's URL
            typer.echo(json.dumps(json.load(answer), indent=2))
    except (OSError, ValueError) as error:
        _fail(ShopsetError(f"{agent} does not answer: {error}. Is the agent running?"))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise StateError(f"{text!r} is no address to listen on: write one as in 127.0.0.1:8405")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104  # as a person who leaves the address out means


def _place(
    folder: StateFolder,
    *,
    http: list[str] | None,
    https: list[str] | None,
    trusted_proxies: list[str] | None,
    connections: int | None,
    authorities: str,
    silence: int,
    **others: Any,
) -> Place:
    return Place(
        str(folder.path),
        http=tuple(http or ("*:8080",)),
        https=tuple(https or ()),
        trusted_proxies=tuple(trusted_proxies or ()),
        connections=connections or fitting_connections(),
        # HAProxy reads it where it stands, whatever folder it was named from.
        authorities=authorities if authorities.startswith("@") else str(Path(authorities).absolute()),
        silence=f"{silence}s",
        **others,
    )


def _environment(credentials: Path | None) -> dict[str, str]:
    """Return what git runs with."""
    return {**os.environ, **credential_environment(credentials.absolute() if credentials else None)}


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path else None


def _repository(named: str) -> str:
    """Return a repository as git finds it from wherever it runs: a folder by its whole path."""
    return str(Path(named).absolute()) if Path(named).is_dir() else named


def _secrets(namespace: str, labels: str, kubeconfig: Path | None, context: str | None) -> Secrets | None:
    if not namespace:
        return None
    return Secrets(namespace, parse_labels(labels), _absolute(kubeconfig), context)


def _fail(error: Exception) -> NoReturn:
    sys.stderr.write(f"error: {error}\n")
    raise typer.Exit(1)
