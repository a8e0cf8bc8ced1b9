"""Prometheus and Alertmanager, with intervals of a second."""

import json
from pathlib import Path

from testbed.processes import Part, Processes
from testbed.programs import free_ports
from testbed.records import write


def start_monitoring(folder: Path, processes: Processes) -> tuple[str, str]:
    """Start both. Returns the URLs of Prometheus and of Alertmanager."""
    prometheus, alertmanager = free_ports(2)
    home = folder / "prometheus"
    for name in ("targets", "rules"):
        (home / name).mkdir(parents=True, exist_ok=True)
    # JSON is YAML.
    receivers = {"route": {"receiver": "nobody", "group_wait": "0s"}, "receivers": [{"name": "nobody"}]}
    write(home / "alertmanager.yml", json.dumps(receivers))
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s", "scrape_timeout": "1s"},
        "rule_files": [f"{home}/rules/*.yaml"],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]},
        "scrape_configs": [
            {
                "job_name": "bed",
                "honor_labels": True,
                "file_sd_configs": [{"files": [f"{home}/targets/*.json"], "refresh_interval": "5s"}],
            },
            {"job_name": "prometheus", "static_configs": [{"targets": [f"127.0.0.1:{prometheus}"]}]},
        ],
    }
    write(home / "prometheus.yml", json.dumps(configuration))
    processes.start(
        Part(
            "alertmanager",
            [
                "prometheus-alertmanager",
                f"--config.file={home / 'alertmanager.yml'}",
                f"--storage.path={home / 'alertmanager'}",
                f"--web.listen-address=127.0.0.1:{alertmanager}",
                "--cluster.listen-address=",
            ],
        )
    )
    processes.start(
        Part(
            "prometheus",
            [
                "prometheus",
                f"--config.file={home / 'prometheus.yml'}",
                f"--storage.tsdb.path={home / 'data'}",
                f"--web.listen-address=127.0.0.1:{prometheus}",
            ],
        )
    )
    return f"http://127.0.0.1:{prometheus}", f"http://127.0.0.1:{alertmanager}"
