"""Git over authenticated smart HTTP: nginx and fcgiwrap before git's own http-backend. nginx serves the metrics too."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.processes import Part, Processes, wait_for
from testbed.programs import free_ports, program
from testbed.records import USERS, write

REPOSITORIES: Final = ("shopset-system", "shopset-apps", "shopset-configuration")
_BACKENDS: Final = 4
_SETTINGS: Final = """\
[http]
\treceivepack = true
[core]
\tfsync = none
\tlogAllRefUpdates = always
[gc]
\tauto = 0
"""
"""Of each repository."""
_CONFIGURATION: Final = """
daemon off;
master_process off;
pid {folder}/nginx/pid;
error_log stderr;
worker_processes 1;
{user}
events {{ worker_connections 512; }}
http {{
  access_log {folder}/nginx/access.log;
  client_max_body_size 0;
  client_body_temp_path {folder}/nginx/body;
  proxy_temp_path {folder}/nginx/proxy;
  fastcgi_temp_path {folder}/nginx/fastcgi;
  uwsgi_temp_path {folder}/nginx/uwsgi;
  scgi_temp_path {folder}/nginx/scgi;
  map "$remote_user $arg_service $uri" $refused {{
    default 0;
    "~^argocd git-receive-pack" 1;
    "~^argocd .*/git-receive-pack$" 1;
  }}
  upstream backends {{
    least_conn;
{sockets}
  }}
  server {{
    listen 127.0.0.1:{port};
    location /metrics/ {{
      root {folder};
      default_type text/plain;
    }}
    location / {{
      auth_basic "git";
      auth_basic_user_file {folder}/nginx/users;
      if ($refused) {{ return 403; }}
      fastcgi_pass backends;
      fastcgi_param SCRIPT_FILENAME {backend};
      fastcgi_param GIT_PROJECT_ROOT {folder}/repositories;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param REMOTE_USER $remote_user;
      fastcgi_param REMOTE_ADDR $remote_addr;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
      fastcgi_param GIT_PROTOCOL $http_git_protocol;
      fastcgi_param PATH {path};
    }}
  }}
}}
"""


def start_git(folder: Path, processes: Processes) -> str:
    """Start the git server. Returns the URL under which the sets of repositories lie."""
    (port,) = free_ports(1)
    for name in ("nginx", "repositories", "metrics"):
        (folder / name).mkdir(exist_ok=True)
    backend = subprocess.run([program("git"), "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    set_passwords(folder, USERS)
    sockets = [folder / "nginx" / f"fcgi-{number}" for number in range(_BACKENDS)]
    text = _CONFIGURATION.format(
        folder=folder,
        sockets="".join(f"    server unix:{socket};\n" for socket in sockets),
        port=port,
        backend=f"{backend}/git-http-backend",
        path=Path(program("git")).parent,
        user="user root;" if Path("/").owner() == Path(folder).owner() else "",
    )
    write(folder / "nginx" / "nginx.conf", text)
    # Single processes instead of one with children, which would outlive it.
    for socket in sockets:
        socket.unlink(missing_ok=True)
        processes.start(Part(socket.name, ["fcgiwrap", "-f", "-s", f"unix:{socket}"]))
    for socket in sockets:
        wait_for(socket.name, socket.exists, lambda name=socket.name: processes.check(name))  # type: ignore[misc]
    processes.start(
        Part(
            "nginx", ["nginx", "-p", str(folder / "nginx"), "-e", "stderr", "-c", str(folder / "nginx" / "nginx.conf")]
        )
    )
    return f"http://127.0.0.1:{port}/"


def set_passwords(folder: Path, users: Mapping[str, str]) -> None:
    """Say who may push and read, user -> password; it holds from the next request on."""
    write(folder / "nginx" / "users", "".join(f"{name}:{{PLAIN}}{password}\n" for name, password in users.items()))


def make_repositories(folder: Path, name: str) -> None:
    """Make a set of three empty repositories, `repositories/<name>/shopset-*.git`."""
    for repository in REPOSITORIES:
        path = folder / "repositories" / name / f"{repository}.git"
        subprocess.run([program("git"), "init", "-q", "--bare", "-b", "tier-0", str(path)], check=True)
        with (path / "config").open("a") as config:
            config.write(_SETTINGS)
