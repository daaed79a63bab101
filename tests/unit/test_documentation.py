"""The documentation is complete, current, and true of what it names."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cnpg_plugin_operator.api.conditions import Reason, Type
from tests.documentation.reference import ROOT, build

README = (ROOT / "README.md").read_text()
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text()
SECTIONS = re.split(r"^### (\w+)$", RUNBOOKS.replace("\n## ", "\n### \n"), flags=re.MULTILINE)[1:]
BY_REASON = dict(zip(SECTIONS[::2], SECTIONS[1::2], strict=True))
NOTHING_TO_DO = {
    Reason.ACCEPTED,
    Reason.ISSUED,
    Reason.NOT_NEEDED,
    Reason.AVAILABLE,
    Reason.IDENTIFIED,
    Reason.REGISTERED,
    Reason.ANNOUNCED,
    Reason.READY,
    Reason.SUSPENDED,
}

BUILT = build()
GENERATED = pytest.mark.parametrize("path", BUILT, ids=lambda path: path.name)
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *(path for path in sorted((ROOT / "docs").rglob("*.md"))),
    *sorted((ROOT / "config").rglob("*.md")),
    ROOT / "charts" / "cnpg-plugin-operator" / "README.md",
]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))

IMAGE = re.compile(r"\b((?:[a-z0-9-]+\.)+[a-z]{2,}/[\w./-]+:v?\d[\w.-]*)")
EXAMPLES = re.compile(r"\w+\.example\.com/")


@GENERATED
def test_a_generated_page_is_current(path: Path) -> None:
    assert path.read_text() == BUILT[path], "run `make reference`"


def test_the_site_builds_strictly(tmp_path: Path) -> None:
    """Every page is in the navigation, and every link and anchor leads somewhere.

    Not with --quiet, which drops the warnings that strict counts.
    """
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "search" / "search_index.json").exists()


def test_every_reason_has_one_runbook_and_no_other_has_one() -> None:
    assert sorted(SECTIONS[::2]) == sorted(reason.value for reason in Reason)


@pytest.mark.parametrize("reason", [each for each in Reason if each not in NOTHING_TO_DO])
def test_a_runbook_has_symptom_cause_check_and_cure(reason: Reason) -> None:
    parts = re.findall(r"^- \*\*(\w+)\*\*: \S", BY_REASON[reason.value], re.MULTILINE)
    assert parts == ["Symptom", "Cause", "Check", "Cure"]


def test_the_runbooks_cover_every_condition() -> None:
    headings = re.findall(r"^## Condition (\w+)$", RUNBOOKS, re.MULTILINE)
    assert headings == [kind.value for kind in Type]


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_pages_beside_the_site_resolve(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = ROOT / path if path else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if anchor else []
        assert not anchor or anchor in {each.lower().replace(" ", "-") for each in headings}


def test_the_readme_fits_one_screen() -> None:
    assert len(README.encode()) <= 8192


def test_the_example_of_the_readme_is_a_published_plugin() -> None:
    published = (ROOT / "config" / "plugins" / "barman-cloud" / "plugin.yaml").read_text()
    shown = README.partition("```yaml\n")[2].partition("```")[0]
    for fact in re.findall(r"(?:name|value|image|pluginName): (\S+)", shown):
        assert fact in published or fact == "cnpg-system"


TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@EVERY_PAGE
def test_make_targets_exist(page: Path) -> None:
    named = re.findall(r"`make ([a-z0-9-]+(?: [a-z0-9-]+)*)", page.read_text())
    assert {target for targets in named for target in targets.split()} <= TARGETS


def test_workflows_check_and_build_by_make_targets() -> None:
    workflows = ROOT / ".github" / "workflows"
    steps = re.findall(r"run: (.+)", (workflows / "checks.yaml").read_text())
    checks = {"make lint", "make audit", "make unit-all"}
    assert checks <= {*steps} <= {f"make {target}" for target in TARGETS}
    called = re.findall(r"\bmake ([a-z0-9-]+)", (workflows / "release.yaml").read_text())
    assert called == ["release"]


def test_an_audit_without_an_answer_fails() -> None:
    recipe = re.search(r"^audit:.*\n\t(.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    assert "--strict" in recipe[1]


def test_the_comparison_has_an_answer_or_a_reason_in_every_row() -> None:
    page = (ROOT / "docs" / "project" / "features.md").read_text()
    rows = re.findall(r"^\| (?!feature |---)(.+) \|$", page, re.MULTILINE)
    assert len(rows) >= 45
    assert not [row for row in rows if row.rpartition(" | ")[2] in {"", "\N{EN DASH}", "?"}]


def test_updates_keep_together_what_has_to_fit() -> None:
    rules = json.loads((ROOT / ".github" / "renovate.json").read_text())["packageRules"]
    [together] = [
        rule["matchPackageNames"] for rule in rules if "grpcio" in rule["matchPackageNames"]
    ]
    assert sorted(together) == ["grpcio", "grpcio-tools", "protobuf"]


def test_every_image_that_is_named_is_in_the_list_and_every_listed_one_is_named() -> None:
    files = [
        *PAGES,
        *sorted((ROOT / "config").rglob("*.yaml")),
        ROOT / "charts" / "cnpg-plugin-operator" / "Chart.yaml",
        ROOT / "charts" / "cnpg-plugin-operator" / "templates" / "NOTES.txt",
    ]
    named = {image for file in files for image in IMAGE.findall(file.read_text())}
    lines = (ROOT / "config" / "images.txt").read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert sorted(listed) == sorted(image for image in named if not EXAMPLES.match(image))
