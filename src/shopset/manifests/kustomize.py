"""Running the real kustomize: without plugins, helm or network, bounded in time and size."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from threading import Event, Timer
from typing import IO, Final

from shopset.core.errors import ShopsetError

_MOST_OUTPUT: Final = 64 << 20
"""Bytes of manifests that one ShopSet may have."""
_MOST_ERRORS: Final = 1000
"""Characters of kustomize's complaint that are passed on."""

# What scanning overlooks still must not reach the network: kustomize fetches by git and by Go's http client.
_NOWHERE: Final = "http://127.0.0.1:9"
_OFFLINE: Final = {"GIT_ALLOW_PROTOCOL": "none", "HTTP_PROXY": _NOWHERE, "HTTPS_PROXY": _NOWHERE}
_WAYS_OUT: Final = frozenset({"NO_PROXY", "no_proxy"})


class KustomizeMissingError(ShopsetError):
    """Neither kustomize nor kubectl was found."""


def find_kustomize(named: str | None) -> tuple[str, ...]:
    """Return the command that builds a folder: the one named, kustomize, or kubectl's own. Raises KustomizeMissingError."""
    for name in (named,) if named else ("kustomize", "kubectl"):
        found = shutil.which(name)
        if found:
            # Absolute, because it is run in other folders than this one.
            verb = "kustomize" if Path(name).name.startswith("kubectl") else "build"
            return (str(Path(found).absolute()), verb)
    if named:
        message = f"SHOPSET_KUSTOMIZE names {named}, which is no program: name kustomize, or kubectl, or unset it"
        raise KustomizeMissingError(message)
    message = "kustomize is missing: install it (or kubectl), or name it by SHOPSET_KUSTOMIZE"
    raise KustomizeMissingError(message)


class KustomizeStoppedError(ShopsetError):
    """kustomize could not run to its end: the fault of this machine, not of what it builds."""


class Kustomize:
    """kustomize as a function. `environment` is the shell's; `timeout` is in seconds. Threads may share one.

    `command` is as `find_kustomize` gives it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], timeout: float = 60) -> None:
        self._command = tuple(command)
        kept = {key: value for key, value in environment.items() if key not in _WAYS_OUT}
        self._environment = kept | _OFFLINE
        self._timeout = timeout

    @cached_property
    def version(self) -> str:
        """What kustomize says of its version: another one may build other bytes. Raises KustomizeStoppedError."""
        program, verb = self._command
        text, problem = self._run([program, "version", *(["--client"] if verb == "kustomize" else [])], Path("/"))
        if problem:
            raise KustomizeStoppedError(problem)
        return text.strip()

    def build(self, folder: Path) -> tuple[str, str]:
        """Build a kustomization. Returns the manifests and an empty string, or an empty string and what is wrong.

        Raises KustomizeStoppedError.
        """
        text, problem = self._run([*self._command, str(folder)], folder)
        return text, _without_places(problem, folder)

    def _run(self, command: Sequence[str], folder: Path) -> tuple[str, str]:
        expired = Event()
        try:
            with tempfile.TemporaryFile() as errors:
                output, code = self._bounded(command, folder, errors, expired)
                errors.seek(0)
                said = errors.read(_MOST_OUTPUT).decode(errors="replace")
        except OSError as error:
            raise KustomizeStoppedError(f"kustomize cannot be run: {error}") from error
        if expired.is_set():
            return "", f"kustomize {command[1]} took longer than {self._timeout:g} s"
        if len(output) > _MOST_OUTPUT:
            return "", f"kustomize {command[1]} gave more than {_MOST_OUTPUT >> 20} MiB"
        if code < 0:
            message = f"kustomize was killed by {signal.Signals(-code).name}: is there memory left?"
            raise KustomizeStoppedError(message)
        return (output.decode(errors="replace"), "") if code == 0 else ("", _complaint(command[1], said))

    def _bounded(self, command: Sequence[str], folder: Path, errors: IO[bytes], expired: Event) -> tuple[bytes, int]:
        """Run a command until it ends, `expired` is set, or it has written too much. Raises OSError."""
        with subprocess.Popen(
            command,
            cwd=folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process:
            timer = Timer(self._timeout, _expire, (process, expired))
            timer.start()
            try:
                output = process.stdout.read(_MOST_OUTPUT + 1) if process.stdout else b""
                if len(output) > _MOST_OUTPUT:
                    _kill(process)
                process.wait()
            finally:
                timer.cancel()
                _kill(process)
        return output, process.returncode


def _expire(process: subprocess.Popen[bytes], expired: Event) -> None:
    expired.set()
    _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with those that it started, if it still runs."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _complaint(verb: str, said: str) -> str:
    """Return what kustomize said at the end, from its word `Error:` on, as one line."""
    last = re.split(r"^error: ", said, flags=re.IGNORECASE | re.MULTILINE)[-1]
    words = " ".join(last.split()) or "it said nothing"
    return f"kustomize {verb} failed: {words if len(words) <= _MOST_ERRORS else words[:_MOST_ERRORS] + ' …'}"


def _without_places(problem: str, folder: Path) -> str:
    """Return a problem without the folders of this machine."""
    for root in {str(folder.parent.parent), str(folder.parent.parent.resolve())}:
        problem = problem.replace(f"{root}/", "").replace(root, ".")
    return problem
