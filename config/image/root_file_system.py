"""Makes the image's root file system: Python, what it loads, and what both say of themselves.

A base image has a shell, a package manager and a hundred megabytes that the operator never uses.
From such a file system this copies the interpreter, its library, and the shared libraries that any
of it or of the operator's packages names. Each Debian package that a copied file belongs to keeps
its license and its entry of dpkg, where scanners look for it. There are no certificate authorities:
Kubernetes gives the operator that of the API server, and the others are in Secrets.

It runs in the first stage of the Dockerfile with the standard library only. It must not run
anything of the file system that it reads, which may be of another platform.
"""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from struct import iter_unpack, unpack_from

UNUSED = re.compile(
    r"^(__pycache__|test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|pydoc_data|site-packages"
    r"|dist-packages|config-\d.*|_tkinter\..*|_test.*\.so|_ctypes_test\..*|_xxtestfuzz\..*|xx.*\.so)$"
)
"""What the operator does not use of Python's library: tests, editors, installers, windows."""
LOADED_BY_NAME = ("libgcc_s.so.1",)
"""The C library loads it when a thread is cancelled, and no file says so."""
_DYNAMIC, _LOADER, _NEEDED = 6, 3, 1


def read_elf(file: Path) -> tuple[str, list[str]]:
    """Read an ELF file: the path of its loader, if any, and the names of the libraries it needs."""
    data = file.read_bytes()
    if data[:6] != b"\x7fELF\x02\x01":
        return "", []
    [offset], (size, count) = unpack_from("<Q", data, 40), unpack_from("<HH", data, 58)
    sections = [unpack_from("<IIQQQQIIQQ", data, offset + n * size) for n in range(count)]
    needed: list[str] = []
    for _, kind, _, _, start, length, link, *_ in sections:
        if kind == _DYNAMIC:
            names = sections[link][4]
            for tag, value in iter_unpack("<qQ", data[start : start + length]):
                if tag == _NEEDED:
                    needed.append(_text(data, names + value))
    [segments], (entry, number) = unpack_from("<Q", data, 32), unpack_from("<HH", data, 54)
    loader = ""
    for position in range(segments, segments + entry * number, entry):
        kind, _, start = unpack_from("<IIQ", data, position)
        if kind == _LOADER:
            loader = _text(data, start)
    return loader, needed


def _text(data: bytes, start: int) -> str:
    return data[start : data.index(0, start)].decode()


class RootFileSystem:
    """What is copied from source to target, both the root of a file system."""

    def __init__(self, source: Path, target: Path) -> None:
        self.source = source
        self.target = target
        self.copied: set[str] = set()
        """The paths in source, without links, by which dpkg may know them."""

    def copy(self, path: Path, to: str) -> None:
        """Copy a file, or what a link leads to."""
        real = self._resolve(path)
        place = self.target / to
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real, place)
        self.copied.add(str(real.relative_to(self.source)))

    def _resolve(self, path: Path) -> Path:
        """Follow links within source, where an absolute one begins."""
        parts = list(path.relative_to(self.source).parts)
        real = self.source
        while parts:
            real /= parts.pop(0)
            if real.is_symlink():
                link = real.readlink()
                parts = [*link.parts[link.is_absolute() :], *parts]
                real = self.source if link.is_absolute() else real.parent
        return real.resolve()

    def copy_python(self) -> list[Path]:
        """Copy the interpreter and its library; return the ELF files among them."""
        name = f"python{sys.version_info.major}.{sys.version_info.minor}"
        prefixes = [prefix for prefix in ("usr/local", "usr") if self._has(f"{prefix}/bin/{name}")]
        if not prefixes:
            raise SystemExit(f"{self.source} has no {name}, which builds the image")
        prefix = prefixes[0]
        program = self.source / prefix / "bin" / name
        self.copy(program, f"{prefix}/bin/{name}")
        (self.target / prefix / "bin" / "python3").symlink_to(name)
        library = self.source / prefix / "lib" / name
        files = list(_files(library))
        for file in files:
            self.copy(file, str(file.relative_to(self.source)))
        return [self._resolve(program), *(file for file in files if file.suffix == ".so")]

    def _has(self, path: str) -> bool:
        return (self.source / path).exists()

    def copy_libraries(self, programs: list[Path], packages: Path) -> None:
        """Copy the loader and every library that programs or the operator's packages need."""
        modules = [*packages.rglob("*.so*")]
        [libc] = self.source.glob("usr/lib/*-linux-gnu/libc.so.6")
        found = {module.name for module in modules}
        wanted = [read_elf(file) for file in (*programs, *modules)]
        wanted.append(("", [*LOADED_BY_NAME]))
        while wanted:
            loader, names = wanted.pop()
            if loader:
                self.copy(self.source / loader.lstrip("/"), f"usr{loader}")
            for name in {*names} - found:
                library = self._find(name, libc.parent)
                # Where the loader looks without a cache.
                self.copy(library, str(libc.parent.relative_to(self.source) / name))
                wanted.append(read_elf(self._resolve(library)))
            found.update(names)

    def _find(self, name: str, folder: Path) -> Path:
        for place in (folder / name, self.source / "usr" / "local" / "lib" / name):
            if place.is_symlink() or place.exists():
                return place
        raise SystemExit(f"{self.source} lacks {name}")

    def copy_settings(self) -> None:
        """Write what programs expect of any system: links, users, its name."""
        for name in ("bin", "lib", "lib64"):
            (self.target / "usr" / name).mkdir(parents=True, exist_ok=True)
            (self.target / name).symlink_to(f"usr/{name}")
        (self.target / "tmp").mkdir()
        (self.target / "tmp").chmod(0o1777)
        self.copy(self.source / "usr/lib/os-release", "usr/lib/os-release")
        etc = self.target / "etc"
        etc.mkdir(exist_ok=True)
        (etc / "os-release").symlink_to("../usr/lib/os-release")
        user = "65532:65532"
        (etc / "passwd").write_text(
            f"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:{user}:nonroot:/:/sbin/nologin\n"
        )
        (etc / "group").write_text("root:x:0:\nnonroot:x:65532:\n")

    def copy_package_entries(self) -> None:
        """Copy license and dpkg's entry of every package of which a file was copied."""
        database = self.source / "var/lib/dpkg"
        owners = set()
        for listing in (database / "info").glob("*.list"):
            files = {_without_links(line) for line in listing.read_text().splitlines()}
            if files & self.copied:
                owners.add(listing.stem.partition(":")[0])
        entries = self.target / "var/lib/dpkg/status.d"
        entries.mkdir(parents=True)
        for entry in (database / "status").read_text().split("\n\n"):
            [name] = re.findall(r"^Package: (\S+)$", entry, re.MULTILINE) or [""]
            if name in owners:
                (entries / name).write_text(f"{entry.strip()}\n")
                path = f"usr/share/doc/{name}/copyright"
                self.copy(self.source / path, path)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if UNUSED.match(path.name):
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _without_links(path: str) -> str:
    """The place of a path of dpkg, which may name it as if /lib were no link to /usr/lib."""
    place = path.lstrip("/")
    return f"usr/{place}" if re.match(r"(bin|sbin|lib|lib64)/", place) else place


def main() -> None:
    """Copy from the first argument to the second what the packages in the third need."""
    source, target, packages = (Path(argument) for argument in sys.argv[1:])
    made = RootFileSystem(source, target)
    made.copy_settings()
    made.copy_libraries(made.copy_python(), packages)
    made.copy_package_entries()


if __name__ == "__main__":
    main()
