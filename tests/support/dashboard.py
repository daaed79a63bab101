"""The queries of the chart's dashboard and alerts, as Grafana and Prometheus run them."""

import json
from pathlib import Path
from typing import Final

import yaml

FILES: Final = Path(__file__).resolve().parents[2] / "charts" / "cnpg-plugin-operator" / "files"
VARIABLES: Final = {"$__rate_interval": "5m", "$namespace": ".*"}


def panels() -> dict[str, list[str]]:
    """The queries of each panel by its title."""
    board = json.loads((FILES / "dashboard.json").read_text())
    return {
        panel["title"]: [fill(target["expr"]) for target in panel["targets"]]
        for panel in board["panels"]
    }


def alerts() -> dict[str, str]:
    """The expression of each alert and each recording rule by its name."""
    rules = yaml.safe_load((FILES / "alerts.yaml").read_text())
    return {each.get("alert") or each["record"]: each["expr"] for each in rules}


def fill(query: str) -> str:
    """Put what a user chooses in Grafana into a query."""
    for variable, value in VARIABLES.items():
        query = query.replace(variable, value)
    return query
