"""What an image consists of, read from its archive, in the two usual formats.

Nothing is taken from a lock: a package is listed because its own description is in the image.
Digests instead of random numbers identify a list, so equal images have equal lists.
"""

import json
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

from config.release.checkout import NAME
from config.release.licenses import license_of

DEBIAN = "debian-13"
_ENTRIES = "var/lib/dpkg/status.d/"


@dataclass(frozen=True, order=True)
class Package:
    """One package in an image; license is an expression of SPDX, or empty."""

    purl: str
    name: str
    version: str
    license: str = ""


def read_packages(archive: Path) -> list[Package]:
    """Read the Python and Debian packages of an image."""
    found = set()
    for path, text in _descriptions(archive):
        head = HeaderParser().parsestr(text)
        name, version = head["Name"] or head["Package"], head["Version"]
        if path.startswith(_ENTRIES):
            where = f"?arch={head['Architecture']}&distro={DEBIAN}"
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}{where}"
            found.add(Package(purl, name, version))
        else:
            purl = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
            found.add(Package(purl, name, version, license_of(head)))
    return sorted(found)


def _descriptions(archive: Path) -> Iterator[tuple[str, str]]:
    """Read the files in which packages describe themselves."""
    for layer in _layers(archive):
        for entry in layer:
            path = entry.name.removeprefix("./").removeprefix("/")
            own = path.endswith(".dist-info/METADATA") or path.startswith(_ENTRIES)
            content = layer.extractfile(entry) if own and entry.isfile() else None
            if content is not None:
                yield path, content.read().decode()


def _layers(archive: Path) -> Iterator[tarfile.TarFile]:
    with tarfile.open(archive) as image:

        def read(name: str) -> dict[str, Any]:
            content = image.extractfile(name)
            return dict(json.load(content)) if content else {}

        def blob(digest: str) -> str:
            return f"blobs/{digest.replace(':', '/')}"

        [only] = read("index.json")["manifests"]
        for each in read(blob(only["digest"]))["layers"]:
            with tarfile.open(fileobj=image.extractfile(blob(each["digest"]))) as layer:
                yield layer


def cyclonedx(packages: list[Package], image: Package, epoch: int) -> str:
    """Write the list in CycloneDX 1.6."""
    components = [
        {
            "type": "library",
            "bom-ref": package.purl,
            "name": package.name,
            "version": package.version,
            "purl": package.purl,
            **({"licenses": [{"expression": package.license}]} if package.license else {}),
        }
        for package in packages
    ]
    subject = {"type": "container", "bom-ref": image.purl, "name": NAME, "purl": image.purl}
    return _text(
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": f"urn:uuid:{_identity(packages, image)}",
            "version": 1,
            "metadata": {
                "timestamp": _time(epoch),
                "component": {**subject, "version": image.version},
            },
            "components": components,
            "dependencies": [
                {"ref": image.purl, "dependsOn": [package.purl for package in packages]},
                *({"ref": package.purl} for package in packages),
            ],
        }
    )


def spdx(packages: list[Package], image: Package, epoch: int) -> str:
    """Write the list in SPDX 2.3."""
    described = [_spdx_package(package, number) for number, package in enumerate(packages, 1)]
    return _text(
        {
            "spdxVersion": "SPDX-2.3",
            "dataLicense": "CC0-1.0",
            "SPDXID": "SPDXRef-DOCUMENT",
            "name": f"{NAME}-{image.version}",
            "documentNamespace": f"https://cnpgplugin.dev/spdx/{_identity(packages, image)}",
            "creationInfo": {"created": _time(epoch), "creators": [f"Tool: {NAME}-release"]},
            "packages": [_spdx_package(image, 0), *described],
            "relationships": [
                _relationship("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Package-0"),
                *(
                    _relationship("SPDXRef-Package-0", "CONTAINS", str(each["SPDXID"]))
                    for each in described
                ),
            ],
        }
    )


def _spdx_package(package: Package, number: int) -> dict[str, object]:
    reference = {
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": package.purl,
    }
    return {
        "SPDXID": f"SPDXRef-Package-{number}",
        "name": package.name,
        "versionInfo": package.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": package.license or "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [reference],
    }


def _relationship(element: str, kind: str, related: str) -> dict[str, str]:
    return {
        "spdxElementId": element,
        "relationshipType": kind,
        "relatedSpdxElement": related,
    }


def _identity(packages: list[Package], image: Package) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_URL, repr((image, packages)))


def _time(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
