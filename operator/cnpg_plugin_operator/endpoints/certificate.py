"""The certificate with which the metrics are served, read again whenever its files change.

No exception or log line contains a byte of the key.
"""

import logging
import ssl
from pathlib import Path
from typing import Final

from cnpg_plugin_operator.errors import SettingsError
from cnpg_plugin_operator.pki.reading import TLS_CERTIFICATE, TLS_KEY, read_pair

logger = logging.getLogger(__name__)

VARIABLE: Final = "CNPGP_METRICS_CERTIFICATE"

_State = tuple[int, int, int]


class ServedPair:
    """The pair in a directory, as the kubelet mounts a Secret of type `kubernetes.io/tls`.

    Raises `SettingsError` where there is no usable one yet.
    """

    def __init__(self, directory: Path) -> None:
        self._files = (directory / TLS_CERTIFICATE, directory / TLS_KEY)
        self._states = self._look()
        self._current = self._load()
        self.context = self._current
        """For the server; each connection gets the newest pair."""
        self.context.sni_callback = self._present

    def _present(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> None:
        """Give a new connection the newest pair; called for each, also without a server name."""
        states = self._look()
        if states != self._states:
            self._states = states
            try:
                self._current = self._load()
            except SettingsError as error:
                logger.warning("the metrics keep their previous certificate: %s", error)
        connection.context = self._current

    def _look(self) -> tuple[_State | None, ...]:
        """Return what differs once a file has been written; None for a missing one."""
        return tuple(map(_state, self._files))

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # Without a password, OpenSSL would ask the terminal for that of an encrypted key.
            context.load_cert_chain(*self._files, password="")
        except (OSError, ValueError) as error:
            raise SettingsError(f"{VARIABLE}: {self._explain(error)}") from None
        return context

    def _explain(self, error: OSError | ValueError) -> str:
        """Say which file is at fault: OpenSSL does not."""
        data = {}
        for file in self._files:
            try:
                data[file.name] = file.read_bytes()
            except OSError as failure:
                return f"{file}: {failure.strerror}"
        directory = self._files[0].parent
        pair = read_pair(str(directory), data)
        if pair.problem is not None:
            return f"{directory}: {pair.problem}"
        if not pair.key_matches:
            return f"{directory}: {TLS_KEY} does not belong to {TLS_CERTIFICATE}"
        return f"{directory}: {getattr(error, 'reason', None) or type(error).__name__}"


def _state(file: Path) -> _State | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
