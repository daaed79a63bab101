"""The reference pages, built from what they describe.

Pure except for reading those files. A unit test compares the pages in the repository with what this
module builds; `make reference` writes them.
"""

import argparse
import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import yaml
from prometheus_client.metrics import MetricWrapperBase

from cnpg_plugin_operator import names
from cnpg_plugin_operator.__main__ import COMMANDS
from cnpg_plugin_operator.settings import _FIELDS, FLAGS, PREFIX, Settings
from cnpg_plugin_operator.telemetry import Metrics
from tests.campaign.page import page
from tests.campaign.results import read
from tests.problems import results
from tests.problems.rows import ROWS, Row

ROOT: Final = Path(__file__).resolve().parents[2]
CHART: Final = ROOT / "charts" / "cnpg-plugin-operator"
PAGES: Final = ROOT / "docs" / "reference"
PROBLEMS: Final = ROOT / "docs" / "operate" / "known-problems.md"
CAMPAIGN: Final = ROOT / "docs" / "project" / "campaign.md"
BEGIN, END = "<!-- --8<-- [start:values] -->\n", "<!-- --8<-- [end:values] -->\n"
"""Marks of the table of values in the chart's README, which the site includes."""


NUDGE: Final = "On a Cluster: the revision of the plugin `<name>` that it was last nudged for."
"""The one annotation whose name is computed."""


def build() -> Mapping[Path, str]:
    """Every generated file and its text."""
    readme = CHART / "README.md"
    return {
        PAGES / "resource.md": _resource(),
        PAGES / "metrics.md": _metrics(),
        PAGES / "environment.md": _environment(),
        PAGES / "command-line.md": _command_line(),
        PAGES / "names.md": _names(),
        PROBLEMS: _problems(),
        CAMPAIGN: page(read().values()),
        readme: _fill(readme.read_text(), _values()),
    }


def _fill(page: str, table: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}"


def _page(title: str, about: str, *parts: str) -> str:
    return "\n".join([f"# {title}\n", f"{about} `make reference` generates this page.\n", *parts])


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _prose(text: str) -> str:
    """Text in a cell: one line, without anything that Markdown would read."""
    text = re.sub(r"([<|*_])", r"\\\1", " ".join(text.split()))
    return re.sub(r"`[^`]*`", lambda code: code[0].replace("\\", ""), text)


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text}`".replace("|", "\\|") if text else ""


# The resource


def _resource() -> str:
    body = yaml.safe_load((ROOT / "crds" / "cnpgplugin.dev_cnpgplugins.yaml").read_text())
    [version] = body["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    parts = []
    for part in ("spec", "status"):
        parts.append(f"## {part}\n\n{_prose(schema['properties'][part]['description'])}\n")
        top = schema["properties"][part]
        simple = [row for name in top["properties"] for row in _fields(top, name, depth=1)]
        parts.append(_table(("field", "type", "default", "description"), simple))
        for name, child in top["properties"].items():
            if rows := [row for row in _fields(top, name) if row[0] != f"`{name}`"]:
                parts.append(f"### {part}.{name}\n\n{_prose(child['description'])}\n")
                parts.append(_table(("field", "type", "default", "description"), rows))
    title = f"{body['spec']['names']['kind']}"
    about = (
        f"Every field of the resource in `{body['spec']['group']}/{version['name']}`. "
        "`kubectl explain cnpgplugin.spec` shows the same."
    )
    return _page(title, about, *parts)


def _fields(
    parent: Mapping[str, Any], name: str, prefix: str = "", depth: int = 9
) -> Iterator[tuple[str, str, str, str]]:
    """The row of a field and, up to a depth, those of the fields in it."""
    schema = parent["properties"][name]
    path = f"{prefix}{name}"
    required = " (required)" if name in parent.get("required", ()) else ""
    default = _code(schema["default"]) if "default" in schema else ""
    yield f"`{path}`", f"{_type(schema)}{required}", default, _prose(schema.get("description", ""))
    inner = schema.get("items", schema)
    if depth > 1:
        for child in inner.get("properties", ()):
            path_of_child = f"{path}[]." if inner is not schema else f"{path}."
            yield from _fields(inner, child, path_of_child, depth - 1)


def _type(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return " · ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    kind = str(schema.get("type", "any"))
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_type(schema['additionalProperties'])}"
    return kind


# The chart's values


def _values() -> str:
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    rows = [
        (f"`{path}`", _code(_at(values, path)) or '`""`', _prose(comment))
        for path, comment in _documented(text)
    ]
    return _table(("value", "default", "description"), rows)


def _documented(text: str) -> Iterator[tuple[str, str]]:
    """The path of each value with a comment that begins with `--`, and this comment."""
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if found := re.match(r"\s*# ?(.*)", line):
            if found[1].startswith("--"):
                comment = [found[1][2:]]
            elif comment:
                comment.append(found[1])
        elif found := re.match(r"( *)([\w]+):", line):
            path = [*path[: len(found[1]) // 2], found[2]]
            if comment:
                yield ".".join(path), " ".join(comment)
            comment = []
        else:
            comment = []


def _at(values: Any, path: str) -> object:
    for key in path.split("."):
        values = values[key]
    return values


# Metrics


def _metrics() -> str:
    collectors = {*Metrics().registry._names_to_collectors.values()}
    own = [each for each in collectors if isinstance(each, MetricWrapperBase)]
    rows = []
    for metric in own:
        [family] = metric.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)
        rows.append((f"`{name}`", family.type, labels, _prose(family.documentation)))
    about = (
        "What `/metrics` serves, beside `process_*` and `python_info`. In "
        "`controller_runtime_…` the label `controller` is `cnpgplugins` for the passes of a plugin "
        "and `namespaces` for those of what the plugins of a namespace share."
    )
    return _page("Metrics", about, _table(("metric", "type", "labels", "meaning"), sorted(rows)))


# Environment and command line


def _environment() -> str:
    template = (CHART / "templates" / "deployment.yaml").read_text()
    variable_and_value = r"- name: (CNPGP_\w+)\n\s*value: \{\{[^}\n]*?\.Values\.([\w.]+)"
    set_by = dict(re.findall(variable_and_value, template))
    rows = []
    for name, about in FLAGS.items():
        variable = f"{PREFIX}{name}"
        value = set_by.get(variable, "")
        rows.append((f"`{variable}`", _code(value), _default(name), _prose(about)))
    about = (
        "The settings of `run`. Each has a flag of the same name (`CNPGP_LOG_LEVEL` is "
        "`--log-level`), which takes precedence. `KUBECONFIG` names a kubeconfig; without it the "
        "pod's account is used. The chart sets the variables from its values; where the column is "
        "empty, it computes the variable."
    )
    return _page(
        "Environment", about, _table(("variable", "chart value", "default", "meaning"), rows)
    )


def _default(name: str) -> str:
    value: Any = Settings()
    for key in _FIELDS[name][0].split("."):
        value = getattr(value, key)
    if isinstance(value, bool):
        return _code(json.dumps(value))
    if name == "HTTP_ADDRESS":
        return _code(":".join(map(str, value)))
    if isinstance(value, timedelta):
        return _code(f"{value.total_seconds():g}s")
    if isinstance(value, tuple | frozenset):
        return _code(",".join(sorted(value)))
    return _code(str(value)) if value else ""


def _command_line() -> str:
    parts = []
    for command, (module, about) in COMMANDS.items():
        parser = argparse.ArgumentParser(prog=command)
        import_module(f"cnpg_plugin_operator.commands.{module}").add_arguments(parser)
        parts.append(f"## {command}\n\n{_prose(parser.description or about)}\n")
        if command == "run":
            parts.append("[Environment](environment.md) lists its flags.\n")
            continue
        rows = [
            (f"`{_usage(action)}`", _prose((action.help or "") % {"default": action.default}))
            for action in parser._actions
            if action.dest != "help"
        ]
        parts.append(_table(("argument", "meaning"), rows))
    about = "The commands of `cnpg-plugin-operator`, the program in the operator's image."
    return _page("Command line", about, *parts)


def _usage(action: argparse.Action) -> str:
    """An argument as a person writes it; a flag without a value has none."""
    name = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    shown = "\\|".join(action.choices) if action.choices else str(name)
    words = [", ".join(action.option_strings), "" if action.nargs == 0 else shown]
    return " ".join(filter(None, words))


# Names


def _names() -> str:
    def rows(module: ModuleType, prefix: str = "") -> list[tuple[str, str]]:
        found = _documented_constants(module)
        return [(f"`{name}`", _prose(text)) for name, text in found if name.startswith(prefix)]

    header = ("name", "meaning")
    sections = {
        "Labels": rows(names.labels),
        "Annotations": [
            *rows(names.annotations),
            (f"`{names.annotations.nudge('<name>')}`", NUDGE),
        ],
        "Finalizer": rows(names.resource, names.resource.FINALIZER),
        "CloudNativePG's": rows(names.cnpg, f"{names.cnpg.DOMAIN}/"),
        "Field managers": rows(names.managers),
    }
    about = "Labels, annotations, finalizers and field managers that the operator sets or reads."
    parts = [f"## {title}\n\n{_table(header, found)}" for title, found in sections.items()]
    return _page("Labels and annotations", about, *parts)


def _documented_constants(module: ModuleType) -> Iterator[tuple[str, str]]:
    """The value of each constant of text, and the docstring after it."""
    body = ast.parse(Path(str(module.__file__)).read_text()).body
    for before, after in pairwise(body):
        if not (isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name)):
            continue
        value = getattr(module, before.target.id)
        if isinstance(value, str) and isinstance(after, ast.Expr):
            yield value, str(ast.literal_eval(after.value))


# The known problems

QUOTED: Final = 160
"""The characters that are shown of a message."""


def _problems() -> str:
    recorded = results.read()
    rows = [
        (
            _prose(row.problem),
            f"{_prose(row.reproduced)} ({_prose(row.source)})",
            _message(row, recorded.get(row.name, results.Result()).message),
            _code(row.commands[0]) if row.commands else _prose(row.remedy),
            "yes" if row.automatic else "no",
        )
        for row in ROWS
    ]
    about = (
        "You find the problem behind a message, and its remedy. Each was reproduced on a real "
        "cluster (`make problems`), where the message and the command come from: replace the names "
        "in them by yours. *Automatic* means that the operator ends the problem, or the harm that "
        "it does, without you; it does so within seconds, so that only "
        "[`diagnose`](commands.md#diagnose) shows some of these. "
        "`kubectl cnpg-plugin status NAME` and `diagnose NAME` name each problem on one screen."
    )
    sources = (
        "The numbers after § are ranks in our survey of what users report: C cloudnative-pg, H its "
        "charts, B plugin-barman-cloud, D Dalibo's and O Opera's cnpg-plugin-pgbackrest.\n"
    )
    header = ("problem", "reproduced by", "message", "remedy", "automatic?")
    return _page("Known problems", about, _table(header, rows), sources)


def _message(row: Row, said: str) -> str:
    """What names the problem: a condition with its runbook, or `diagnose`."""
    shown = _prose(said if len(said) <= QUOTED else f"{said[:QUOTED].rstrip()} …")
    if not row.condition:
        return f"`diagnose`: {shown}"
    return f"`{row.condition}`, [{row.reason}](../runbooks.md#{row.reason.lower()}): {shown}"
