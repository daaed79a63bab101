"""Mermaid as a part of the site, so that its pages draw their diagrams without a network.

`make docs` fetches it with npm, once, and compares it with the digest below; no package of the
Python index contains it. As a hook of mkdocs this module adds it to the site, and to the pages with
a diagram. Where it was not fetched, as in the unit test that builds the site, the theme would load
it over the network.
"""

import base64
import hashlib
import posixpath
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tests.cluster.paths import cache_directory

VERSION: Final = "11.16.0"
"""The theme asks for 11."""
INTEGRITY: Final = (
    "Zvm3kbstgdpvIJPPItlL7fppIZ3kibvc1oZIGxdvk9t6UFz6flv+Jw7FtRGKwfcI8OckmH04LqG6LlS6X4B1pA=="
)
"""SHA-512 of npm's package, as a lock file of npm has it."""
NAME: Final = "mermaid.min.js"
DIAGRAM: Final = 'class="mermaid"'


def bundle() -> Path:
    """Where the fetched script is kept."""
    return cache_directory() / "documentation" / f"mermaid-{VERSION}.min.js"


def fetch() -> None:
    """Fetch the script, unless it is there. Raises `SystemExit` if the package is another one."""
    if bundle().exists():
        return
    with tempfile.TemporaryDirectory() as work:
        pack = ["npm", "pack", "--silent", f"mermaid@{VERSION}"]
        subprocess.run(pack, cwd=work, check=True, stdout=subprocess.DEVNULL)
        package = Path(work) / f"mermaid-{VERSION}.tgz"
        digest = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
        if digest != INTEGRITY:
            raise SystemExit(
                f"mermaid {VERSION} has the digest sha512-{digest}, not the pinned one"
            )
        with tarfile.open(package) as archive:
            script = archive.extractfile(f"package/dist/{NAME}")
            assert script is not None
            bundle().parent.mkdir(parents=True, exist_ok=True)
            partial = bundle().with_suffix(".partial")
            partial.write_bytes(script.read())
    partial.rename(bundle())


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the script to the site."""
    if bundle().exists():
        files.append(File.generated(config, NAME, abs_src_path=str(bundle())))
    return files


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Load the script in a page with a diagram; the theme finds it and loads none itself."""
    if DIAGRAM not in output or not bundle().exists():
        return output
    source = posixpath.relpath(NAME, posixpath.dirname(page.url) or ".")
    return output.replace("</head>", f'<script src="{source}"></script></head>', 1)


if __name__ == "__main__":
    fetch()
