"""The image contains Python and what it loads, and neither a shell nor anything that installs."""

import shutil
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.bindings import _rust

from config.image.root_file_system import RootFileSystem, read_elf

PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
LIBRARY = f"usr/lib/{PYTHON}"
FOLDER = "usr/lib/x86_64-linux-gnu"

FILES = {
    f"usr/bin/{PYTHON}": "the interpreter",
    "usr/bin/dash": "a shell",
    "usr/bin/apt": "a package manager",
    f"{LIBRARY}/json/__init__.py": "",
    f"{LIBRARY}/json/__pycache__/__init__.pyc": "",
    f"{LIBRARY}/test/test_json.py": "",
    f"{LIBRARY}/ensurepip/__init__.py": "",
    f"{LIBRARY}/lib-dynload/_ssl.so": "",
    f"{LIBRARY}/lib-dynload/_testcapi.so": "",
    f"{FOLDER}/libc.so.6": "",
    f"{FOLDER}/libgcc_s-2.so": "for threads",
    f"{FOLDER}/libpam.so.0": "nothing needs it",
    "usr/lib/os-release": "ID=debian",
    "usr/share/doc/libgcc-s1/copyright": "GPL",
    "usr/share/doc/dash/copyright": "BSD",
    "var/lib/dpkg/info/libgcc-s1:amd64.list": "/.\n/lib/x86_64-linux-gnu/libgcc_s-2.so\n",
    "var/lib/dpkg/info/dash.list": "/.\n/usr/bin/dash\n",
    "var/lib/dpkg/status": "Package: libgcc-s1\nVersion: 2\n\nPackage: dash\nVersion: 1\n\n",
}


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """What the Dockerfile makes of these files."""
    source, target = tmp_path / "source", tmp_path / "target"
    for name, text in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(text)
    # The official image has this module, but not the libraries that it needs.
    shutil.copy(str(_rust.__file__), source / LIBRARY / "lib-dynload" / "_tkinter.so")
    (source / "lib").symlink_to("/usr/lib")
    (source / FOLDER / "libgcc_s.so.1").symlink_to("/lib/x86_64-linux-gnu/libgcc_s-2.so")
    root = RootFileSystem(source, target)
    root.copy_settings()
    root.copy_libraries(root.copy_python(), tmp_path / "packages")
    root.copy_package_entries()
    return target


def test_it_contains_what_python_loads_and_nothing_else(made: Path) -> None:
    found = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    assert found == {
        f"usr/bin/{PYTHON}",
        "usr/bin/python3",
        f"{LIBRARY}/json/__init__.py",
        f"{LIBRARY}/lib-dynload/_ssl.so",
        f"{FOLDER}/libgcc_s.so.1",
        "etc/group",
        "etc/os-release",
        "etc/passwd",
        "usr/lib/os-release",
        "usr/share/doc/libgcc-s1/copyright",
        "var/lib/dpkg/status.d/libgcc-s1",
    }


def test_a_link_is_followed_within_the_file_system(made: Path) -> None:
    assert (made / FOLDER / "libgcc_s.so.1").read_text() == "for threads"


def test_scanners_find_the_version_of_what_was_copied(made: Path) -> None:
    entry = (made / "var/lib/dpkg/status.d/libgcc-s1").read_text()
    assert entry == "Package: libgcc-s1\nVersion: 2\n"


def test_the_libraries_that_a_program_needs_are_read_from_it() -> None:
    loader, _ = read_elf(Path(sys.executable).resolve())
    assert "/ld-linux" in loader
    _, needed = read_elf(Path(str(_rust.__file__)))
    assert "libc.so.6" in needed
    assert read_elf(Path(__file__)) == ("", [])
