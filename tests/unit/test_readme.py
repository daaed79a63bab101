"""Users look up reasons in the README, so it explains every one of them, and no others."""

import re
from pathlib import Path

import pytest

from cnpg_plugin_operator.api.conditions import Reason

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
TABLES = README.partition("### Every reason")[2].partition("\n## ")[0]
EXPLAINED = re.findall(r"^\| `(\w+)` \|", TABLES, re.MULTILINE)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_once(reason: Reason) -> None:
    assert EXPLAINED.count(reason.value) == 1


def test_only_existing_reasons_are_explained() -> None:
    assert set(EXPLAINED) <= {reason.value for reason in Reason}


@pytest.mark.parametrize("target", re.findall(r"\]\((?!https?:|#)([^)]+)\)", README))
def test_links_into_the_repository_resolve(target: str) -> None:
    assert (ROOT / target).exists()


@pytest.mark.parametrize("target", re.findall(r"\]\(#([^)]+)\)", README))
def test_links_within_the_page_lead_to_a_heading(target: str) -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    assert target in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("target", re.findall(r"`make ([a-z0-9-]+)`", README))
def test_make_targets_exist(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
