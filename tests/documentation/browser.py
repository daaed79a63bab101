"""Look at the built site in Chromium, at the width of a desktop and of a phone: `make docs-check`.

No test, because it needs a browser. It speaks the DevTools protocol itself: a driver would be a
large dependency for one command. The browser has no network: nothing comes from elsewhere, and yet
every diagram has to be drawn.
"""

import asyncio
import functools
import itertools
import shutil
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession, ClientWebSocketResponse

SITE: Final = Path(__file__).resolve().parents[2] / ".site"
SIZES: Final = {"desktop": (1440, 900), "phone": (390, 844)}
SEARCHES: Final = {
    "IncompatibleIssuer": "runbooks/",
    "take over": "migrate/",
    "namespaceOverride": "reference/values/",
    "cnpg_plugin_ready": "reference/metrics/",
}
"""What a reader types, and a page that has to be among the results."""
OVERFLOW: Final = "document.documentElement.scrollWidth - window.innerWidth"
RESULTS: Final = "[...document.querySelectorAll('.md-search-result__link')].map(each => each.href)"
SEARCH: Final = """(text => {
  document.querySelector('#__search').click();
  const input = document.querySelector('.md-search__input');
  input.focus();
  input.value = text;
  input.dispatchEvent(new KeyboardEvent('keyup'));
})"""
DRAWN: Final = """!document.querySelector('pre.mermaid')
  && [...document.querySelectorAll('.mermaid')].every(each => each.offsetHeight > 50)"""
SECONDS: Final = 20


class Page:
    """One tab, over the DevTools protocol."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._ids = itertools.count(1)
        self.events: list[dict[str, Any]] = []

    async def call(self, method: str, **params: object) -> dict[str, Any]:
        """Call a method; keep the events that come meanwhile."""
        number = next(self._ids)
        await self._socket.send_json({"id": number, "method": method, "params": params})
        while True:
            answer: dict[str, Any] = await self._socket.receive_json(timeout=SECONDS)
            if answer.get("id") == number:
                return dict(answer.get("result", {}))
            self.events.append(answer)

    async def evaluate(self, expression: str) -> Any:
        """Evaluate an expression in the page."""
        done = await self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return done["result"].get("value")

    async def open(self, address: str) -> bool:
        """Open a page; return whether it was loaded in time."""
        self.events.clear()
        await self.call("Page.navigate", url=address)
        return await self.until(
            f"document.readyState == 'complete' && location.href == '{address}'"
        )

    async def until(self, expression: str) -> bool:
        """Wait until an expression is true; return whether it was in time."""
        for _ in range(SECONDS * 10):
            if await self.evaluate(expression):
                return True
            await asyncio.sleep(0.1)
        return False


@contextmanager
def served() -> Iterator[str]:
    """Serve the site; yield its address."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
            pass

    handler = functools.partial(Handler, directory=str(SITE))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


async def look_at(page: Page, site: str, path: str) -> list[str]:
    """Return what is wrong with one page."""
    problems = [] if await page.open(f"{site}{path}") else ["does not load"]
    if (excess := await page.evaluate(OVERFLOW)) > 0:
        problems.append(f"is {excess} pixels too wide")
    if not await page.until(DRAWN):
        problems.append("has a diagram that is not drawn")
    for event in page.events:
        if event.get("method") == "Runtime.exceptionThrown":
            problems.append(str(event["params"]["exceptionDetails"]["text"]))
        if event.get("method") == "Network.requestWillBeSent":
            address = event["params"]["request"]["url"]
            if not address.startswith((site, "data:")):
                problems.append(f"loads {address}")
    return problems


async def search(page: Page, site: str, text: str, expected: str) -> list[str]:
    """Return what is wrong with one search."""
    await page.open(site)
    await page.evaluate(f"{SEARCH}({text!r})")
    found = f"{RESULTS}.some(each => each.startsWith('{site}{expected}'))"
    return [] if await page.until(found) else [f"a search for {text!r} finds no {expected}"]


async def check(program: str) -> list[str]:
    """Look at every page and search; return what is wrong."""
    pages = [each.parent.relative_to(SITE).as_posix() for each in SITE.rglob("index.html")]
    paths = sorted("" if each == "." else f"{each}/" for each in pages)
    problems: list[str] = []
    with served() as site:
        async with opened(program) as page:
            for name, (width, height) in SIZES.items():
                screen = {"deviceScaleFactor": 1, "mobile": name == "phone"}
                await page.call(
                    "Emulation.setDeviceMetricsOverride", width=width, height=height, **screen
                )
                for path in paths:
                    found = await look_at(page, site, path)
                    problems += [f"{name}: /{path} {each}" for each in found]
                for text, expected in SEARCHES.items():
                    found = await search(page, site, text, expected)
                    problems += [f"{name}: {each}" for each in found]
    print(f"looked at {len(paths)} pages and {len(SEARCHES)} searches, at {len(SIZES)} widths")
    return problems


@asynccontextmanager
async def opened(program: str) -> AsyncIterator[Page]:
    """Start the browser; yield its tab."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            *(program, "--headless", "--no-sandbox", "--remote-debugging-port=0"),
            f"--user-data-dir={profile}",
            *("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "about:blank"),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with ClientSession() as session:
                page = Page(await session.ws_connect(await _find_tab(session, process)))
                for domain in ("Page", "Runtime", "Network"):
                    await page.call(f"{domain}.enable")
                yield page
        finally:
            process.terminate()
            await process.wait()


async def _find_tab(session: ClientSession, process: asyncio.subprocess.Process) -> str:
    """The address of the first tab; the browser prints its own port."""
    assert process.stderr is not None
    async for line in process.stderr:
        _, marker, rest = line.decode().partition("DevTools listening on ws://")
        if marker:
            async with session.get(f"http://{rest.partition('/')[0]}/json/list") as answer:
                tabs = await answer.json()
            return str(next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"])
    return ""


if __name__ == "__main__":
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("chromium is not installed")
    wrong = asyncio.run(check(chromium))
    print("\n".join(wrong))
    sys.exit(bool(wrong))
