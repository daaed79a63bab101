"""Draws the chart's dashboard from a real Prometheus, in a real browser.

Not in Grafana, which cannot be built here: a small page draws the same panels at the same places.
It shows that each query gives what its panel needs, and how it looks.
"""

import base64
import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from tests.alerts.prometheus import Prometheus
from tests.documentation.browser import opened
from tests.support.dashboard import FILES, fill

PAGE: Final = Path(__file__).with_name("dashboard.html")
PICTURE: Final = Path(__file__).resolve().parents[2] / "docs" / "images" / "dashboard.webp"
SECONDS: Final = 60
WIDTH, HEIGHT = 1280, 1350
UPPER: Final = {"x": 0, "y": 0, "width": WIDTH, "height": 367, "scale": 1}
"""What the picture shows: numbers and tables. The curves below need longer than a test takes."""

Panel = dict[str, Any]


def read_panels(prometheus: Prometheus) -> list[Panel]:
    """Every panel of the dashboard with the answers to its queries."""
    board = json.loads((FILES / "dashboard.json").read_text())
    end = time.time()
    return [_read(prometheus, panel, end - SECONDS, end) for panel in board["panels"]]


async def draw(panels: list[Panel]) -> bytes:
    """Draw the panels in Chromium; return the upper ones as WebP. Fails if the page does."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "chromium is not installed"
    data = json.dumps(panels).replace("<", "\\u003c")
    with tempfile.NamedTemporaryFile("w", suffix=".html") as file:
        file.write(PAGE.read_text().replace("DATA", data))
        file.flush()
        async with opened(chromium) as page:
            size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
            await page.call("Emulation.setDeviceMetricsOverride", **size)
            assert await page.open(f"file://{file.name}")
            drawn = "document.querySelectorAll('section').length"
            assert await page.evaluate(drawn) == len(panels)
            errors = [each for each in page.events if each["method"] == "Runtime.exceptionThrown"]
            assert not errors
            image = {"format": "webp", "quality": 80, "clip": UPPER}
            shot = await page.call("Page.captureScreenshot", **image)
    return base64.b64decode(shot["data"])


def _read(prometheus: Prometheus, panel: Panel, begin: float, end: float) -> Panel:
    series = []
    for target in panel["targets"]:
        start = end if target.get("instant") else begin
        answer = prometheus.query_range(fill(target["expr"]), start, end)
        series += [_curve(found, target.get("legendFormat") or "") for found in answer]
    defaults = panel["fieldConfig"]["defaults"]
    return {
        **{key: panel[key] for key in ("title", "type", "gridPos")},
        "unit": defaults.get("unit"),
        "steps": defaults.get("thresholds", {}).get("steps", []),
        "range": [begin, end],
        "series": series,
    }


def _curve(found: dict[str, Any], legend: str) -> Panel:
    labels = found["metric"]
    name = re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), legend)
    points = [[at, float(value)] for at, value in found["values"] if value != "NaN"]
    return {"name": name, "labels": labels, "points": points}
