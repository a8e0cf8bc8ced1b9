"""Running the real kustomize: without plugins, helm or network, bounded in time and size."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from shopset.core.errors import ShopsetError

_MOST_OUTPUT: Final = 64 << 20
"""Bytes of manifests that one ShopSet may have."""


class KustomizeMissingError(ShopsetError):
    """Neither kustomize nor kubectl was found."""


def find_kustomize(named: str | None) -> tuple[str, ...]:
    """Return the command that builds a folder: the one named, kustomize, or kubectl's own. Raises KustomizeMissingError."""
    if named:
        return (named, "build")
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    if shutil.which("kubectl"):
        return ("kubectl", "kustomize")
    message = "kustomize is missing: install it (or kubectl), or name it by SHOPSET_KUSTOMIZE"
    raise KustomizeMissingError(message)


class Kustomize:
    """kustomize as a function. `environment` is the shell's; `timeout` is in seconds."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], timeout: float = 60) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._timeout = timeout

    @cached_property
    def version(self) -> str:
        """What kustomize says of its version: another one may build other bytes."""
        with_version = (
            [self._command[0], "version"]
            if self._command[1:] == ("build",)
            else [self._command[0], "version", "--client"]
        )
        done = self._run(with_version, Path("/"))
        return (done if isinstance(done, str) else done[0]).strip()

    def build(self, folder: Path) -> tuple[str, str]:
        """Build a kustomization. Returns the manifests and an empty string, or an empty string and what is wrong."""
        done = self._run([*self._command, str(folder)], folder)
        if isinstance(done, str):
            return "", done
        text, code, errors = done
        if code != 0:
            return "", _problem(errors, folder)
        if len(text) > _MOST_OUTPUT:
            return "", f"kustomize build gave more than {_MOST_OUTPUT >> 20} MiB"
        return text, ""

    def _run(self, command: Sequence[str], folder: Path) -> str | tuple[str, int, str]:
        try:
            done = subprocess.run(
                command, cwd=folder, env=self._environment, capture_output=True, timeout=self._timeout, check=False
            )
        except subprocess.TimeoutExpired:
            return f"kustomize build took longer than {self._timeout:g} s"
        except OSError as error:
            return f"kustomize cannot be run: {error}"
        return done.stdout.decode(errors="replace"), done.returncode, done.stderr.decode(errors="replace")


def _problem(errors: str, folder: Path) -> str:
    """Return kustomize's last words without the folders of this machine."""
    root = str(folder.parent.parent)
    lines = [
        line.removeprefix("Error: ")
        for line in errors.replace(f"{root}/", "").replace(root, ".").splitlines()
        if line.strip()
    ]
    return f"kustomize build failed: {lines[-1] if lines else 'it said nothing'}"
