"""The client library, of which only the asynchronous half is loaded.

Its packages import all of it, its synchronous half and much more: 9 MB of memory that nothing here
uses. So the packages are registered without running their `__init__`, and an import loads what it
names. kopf looks for the library when it is imported, so this module has to come first.
"""

import sys
from importlib.util import find_spec, module_from_spec
from typing import Final

BARE: Final = ("kubernetes", "kubernetes.aio")
"""The packages, each after the one that it is in."""


def _register_bare(name: str) -> None:
    spec = find_spec(name)
    if spec is not None and name not in sys.modules:
        sys.modules[name] = module_from_spec(spec)


for _name in BARE:
    _register_bare(_name)

from kubernetes.aio import client, config  # noqa: E402 - see above
from kubernetes.aio.client.exceptions import ApiException  # noqa: E402

__all__ = ["ApiException", "client", "config"]
