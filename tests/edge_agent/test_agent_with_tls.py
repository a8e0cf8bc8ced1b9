"""The command shopset-edge with certificates, from a folder to a handshake."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shopset.edge_agent.certificate_secrets import parse_labels
from support.certificates import KEY, certificate, public, shown
from support.edge_agents import edge, end, placement
from support.haproxies import debian
from support.origins import free_port
from support.worlds import ENVIRONMENT

PATIENCE = 120.0


def wait_for(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_labels_are_written_as_kubectl_has_them() -> None:
    assert parse_labels("a=b, shopset.dev/edge,c=") == {"a": "b", "shopset.dev/edge": None, "c": ""}
    assert parse_labels("") == {}


def test_a_certificate_in_a_folder_is_served_and_renewed_and_told_of(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    first, second = (certificate("tea.example.com", "unrouted.example.com") for _ in range(2))
    (source / "tea.pem").write_text(first)
    (source / "broken.pem").write_text(first.partition(KEY)[0])
    # OpenSSL writes the second of now as the beginning.
    time.sleep(1)
    https, listen = free_port(), f"127.0.0.1:{free_port()}"
    with edge(debian()) as it:
        it.repository.push(placement({"standard#0": ("a-1",)}, {"tea": "standard#0"}, {"a-1": "http://127.0.0.1:9"}))
        command = [sys.executable, "-m", "shopset.edge_agent", "run", f"--state={it.folder.path}", f"--listen={listen}"]
        command += [f"--repository={it.repository.path}", f"--haproxy={it.program}", f"--http={it.place.http[0]}"]
        command += [f"--https=127.0.0.1:{https}", f"--certificates={source}", "--threads=1", "--connections=1000"]
        log = tmp_path / "log"
        with log.open("wb") as output:
            agent = subprocess.Popen(command, env={**os.environ, **ENVIRONMENT}, stderr=output, stdout=output)
        try:
            wait_for("the first is served", lambda: shown(https, "tea.example.com") == public(first))

            (source / "tea.pem").write_text(second)
            wait_for("the second is served", lambda: shown(https, "tea.example.com") == public(second))

            def told() -> dict[str, Any]:
                with urllib.request.urlopen(f"http://{listen}/status", timeout=PATIENCE) as answer:
                    return dict(json.load(answer)["certificates"])

            reasons = {("tea", "NotRouted"), ("broken", "Refused")}
            wait_for("it is told of", lambda: {(each["name"], each["reason"]) for each in told()["remarks"]} == reasons)
            assert (told()["served"], told()["refused"]) == (1, 1)
            with urllib.request.urlopen(f"http://{listen}/metrics", timeout=PATIENCE) as answer:
                metrics = answer.read().decode()
            assert 'shopset_edge_certificates{state="refused"} 1.0' in metrics
            expiry = re.search(r"^shopset_edge_certificate_expiry_timestamp_seconds (\S+)$", metrics, re.MULTILINE)
            assert expiry
            assert 29 * 86400 < float(expiry[1]) - time.time() < 31 * 86400
            assert "PRIVATE" not in log.read_text() + metrics
        finally:
            end(agent)
        # HAProxy goes on without it.
        assert shown(https, "tea.example.com") == public(second)
