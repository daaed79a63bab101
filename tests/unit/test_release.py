"""A release has one version, in all the places that name it."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
CHART = yaml.safe_load((ROOT / "charts" / "cnpg-plugin-operator" / "Chart.yaml").read_text())
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


def test_the_chart_and_its_image_have_the_programs_version() -> None:
    assert (CHART["version"], CHART["appVersion"]) == (VERSION, VERSION)


def test_the_changelog_begins_with_what_is_unreleased_and_then_this_version() -> None:
    headings = re.findall(r"^## \[(.+?)\]$", CHANGELOG, re.MULTILINE)
    assert headings[:2] == ["Unreleased", VERSION]
    assert headings == list(dict.fromkeys(headings))


@pytest.mark.parametrize(
    "page", ["docs/install/index.md", "docs/install/air-gap.md", "docs/quick-start.md"]
)
def test_commands_that_build_or_install_name_this_version(page: str) -> None:
    text = (ROOT / page).read_text()
    assert set(re.findall(r"(?:operator[:-]|image\.tag=)(\d[\w.]*)", text)) == {VERSION}
