"""Prometheus's own reading of rules and queries, by promtool."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.cluster import builds

_METRIC: Final = re.compile(
    r"(?<![\w:])((?:cnpg_plugin|controller_runtime|workqueue|rest_client|process)_\w+)(?![\w:])"
    r"(?:\{([^}]*)\})?"
)
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING: Final = re.compile(r"\bby \(([^)]*)\)")


def check_rules(directory: Path, rules: Sequence[Mapping[str, Any]]) -> str:
    """Let promtool read rules; return what is wrong, or an empty text."""
    return _run("check", "rules", "--lint=all", str(_write_rules(directory, rules)))


def check_queries(directory: Path, queries: Sequence[str]) -> str:
    """Let promtool parse queries; return what is wrong, or an empty text."""
    rules = [{"record": f"query:{n}", "expr": query} for n, query in enumerate(queries)]
    return _run("check", "rules", "--lint=none", str(_write_rules(directory, rules)))


def run_test(directory: Path, rules: Sequence[Mapping[str, Any]], test: Mapping[str, Any]) -> str:
    """Evaluate rules over given series; return how the result differs, or an empty text."""
    path = directory / "test.yaml"
    document = {
        "rule_files": [str(_write_rules(directory, rules))],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", **test}],
    }
    path.write_text(json.dumps(document))
    return _run("test", "rules", str(path))


def read_query(query: str) -> tuple[dict[str, set[str]], set[str]]:
    """Name the metrics of a query with the labels it selects by, and the labels it groups by."""
    metrics: dict[str, set[str]] = {}
    for name, matchers in _METRIC.findall(query):
        metrics.setdefault(name, set()).update(_MATCHER.findall(matchers))
    groups = {each.strip() for found in _GROUPING.findall(query) for each in found.split(",")}
    return metrics, groups


def _write_rules(directory: Path, rules: Sequence[Mapping[str, Any]]) -> Path:
    path = directory / "rules.yaml"
    path.write_text(json.dumps({"groups": [{"name": "tested", "rules": list(rules)}]}))
    return path


def _run(*words: str) -> str:
    argv = [builds.find(builds.PROMTOOL), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return "" if done.returncode == 0 else done.stdout + done.stderr
