"""Writes OCI image archives with the standard library only.

An image of static binaries, or of one root file system, is a tar file with some JSON. Writing it
here needs no image builder, takes a second, and is reproducible.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Part of every cached archive's key: increase it when the written format changes.
FORMAT = 2
_MEDIA = "application/vnd.oci.image"


@dataclass(frozen=True)
class ImageConfig:
    """The settings that a Dockerfile has after its COPY lines."""

    entrypoint: tuple[str, ...] = ()
    user: str = ""
    environment: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Blob:
    """A part of an image, in memory or, if large, in a file."""

    digest: str
    size: int
    content: bytes | Path
    media_type: str = field(default="")

    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def _text_blob(content: dict[str, Any], media_type: str) -> Blob:
    data = json.dumps(content, sort_keys=True).encode()
    return Blob(f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), data, media_type)


def _file_blob(path: Path) -> Blob:
    with path.open("rb") as handle:
        digest = hashlib.file_digest(handle, "sha256").hexdigest()
    return Blob(f"sha256:{digest}", path.stat().st_size, path, f"{_MEDIA}.layer.v1.tar")


def write_layer(target: Path, files: dict[str, Path]) -> None:
    """Write a layer with each file, executable and owned by root, at its path in the image."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer:
        for directory in sorted({str(Path(name).parent) for name in files} - {"."}):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            layer.addfile(entry)
        for name, source in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = source.stat().st_size, 0o755
            with source.open("rb") as content:
                layer.addfile(entry, content)


def write_image(
    target: Path, tag: str, layer: Path, config: ImageConfig, *, architecture: str = "amd64"
) -> None:
    """Write an OCI archive with one layer and one tag."""
    root = _file_blob(layer)
    settings = {
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.command),
        "User": config.user,
        "Env": list(config.environment),
        "WorkingDir": "/",
    }
    described = _text_blob(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {key: value for key, value in settings.items() if value},
            "rootfs": {"type": "layers", "diff_ids": [root.digest]},
            # buildah refuses a base image whose history does not describe its layers.
            "history": [{"created": "1980-01-01T00:00:00Z", "created_by": "tests.cluster"}],
        },
        f"{_MEDIA}.config.v1+json",
    )
    manifest = _text_blob(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": described.descriptor(),
            "layers": [root.descriptor()],
        },
        f"{_MEDIA}.manifest.v1+json",
    )
    _write_archive(target, tag, manifest, (root, described))


def write_layout(target: Path, tag: str, layout: Path, *, architecture: str) -> None:
    """Write the OCI archive of the only image in a layout, as one of this architecture.

    Equal images become equal archives, whenever their layouts were written.
    """

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    [only] = json.loads((layout / "index.json").read_bytes())["manifests"]
    manifest = json.loads(blob(only["digest"]).read_bytes())
    config = json.loads(blob(manifest["config"]["digest"]).read_bytes())
    described = _text_blob(
        {**config, "architecture": architecture}, manifest["config"]["mediaType"]
    )
    layers = [
        Blob(each["digest"], each["size"], blob(each["digest"])) for each in manifest["layers"]
    ]
    changed = {**manifest, "config": described.descriptor()}
    _write_archive(target, tag, _text_blob(changed, only["mediaType"]), (*layers, described))


def _write_archive(target: Path, tag: str, manifest: Blob, blobs: Sequence[Blob]) -> None:
    names = {"org.opencontainers.image.ref.name": tag, "io.containerd.image.name": tag}
    index = {
        "schemaVersion": 2,
        "manifests": [{**manifest.descriptor(), "annotations": names}],
    }
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        _add(archive, "index.json", json.dumps(index).encode())
        for blob in (*blobs, manifest):
            _add(archive, f"blobs/sha256/{blob.digest.partition(':')[2]}", blob.content)


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o644
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    entry.size = content.stat().st_size
    with content.open("rb") as handle:
        archive.addfile(entry, handle)
