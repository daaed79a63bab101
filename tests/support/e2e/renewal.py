"""Renews certificates before their time, the way people do, and tells when it is done."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.api import Api, ApiError
from tests.support.e2e.plugins import collection

REQUEST: Final = "cnpgplugin.dev/renew-requested-at"
"""The operator's annotation: what it issued before that moment is renewed."""

_CONFLICT = 409

Contents = dict[str, str]
"""What Secrets hold in `tls.crt`, by their names."""


def timestamp() -> str:
    """The time as `date -u +%FT%TZ` writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Renewals:
    """Asks for renewals in the plugins' namespace; a renewal is over when Secrets have changed."""

    api: Api
    peers: Peers

    def ask_for_leaves(self, provider: str, plugin: str) -> Contents:
        """Ask for both certificates of a plugin; what their Secrets hold before."""
        former = self.leaves(plugin)
        if provider == "SelfManaged":
            self.request("CNPGPlugin", plugin)
        else:
            for secret in former:
                self.renew_certificate(secret)
        return former

    def leaves(self, plugin: str) -> Contents:
        """What the Secrets with both certificates of a plugin hold."""
        return self.contents(f"{plugin}-server-tls", self.peers.announced(plugin).client_secret)

    def ask_for_authority(self, provider: str, secret: str) -> Contents:
        """Ask for a new CA; what its Secret holds before."""
        former = self.contents(secret)
        if provider == "SelfManaged":
            self.request("Secret", secret)
        else:
            self.renew_certificate(secret)
        return former

    def contents(self, *secrets: str) -> Contents:
        """What is in each Secret's `tls.crt` now; nothing where there is no such Secret."""
        found = {name: self.api.find(f"{collection('Secret')}/{name}") for name in secrets}
        return {
            name: ((secret or {}).get("data") or {}).get("tls.crt", "")
            for name, secret in found.items()
        }

    def renew_certificate(self, name: str) -> None:
        """What `cmctl renew` does: tell cert-manager that a Certificate is to be issued now."""
        path = f"{collection('Certificate')}/{name}"

        def ask() -> bool:
            found = self.api.get(path)
            others = [c for c in found["status"]["conditions"] if c["type"] != "Issuing"]
            issuing = {
                "type": "Issuing",
                "status": "True",
                "reason": "ManuallyTriggered",
                "message": "Certificate re-issuance manually triggered",
                "lastTransitionTime": timestamp(),
                "observedGeneration": found["metadata"]["generation"],
            }
            change = {
                "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                "status": {"conditions": [*others, issuing]},
            }
            try:
                self.api.patch(f"{path}/status", change)
            except ApiError as error:
                if error.status != _CONFLICT:
                    raise
                return False
            return True

        wait.until(f"Certificate {name} is to be renewed", ask, within=10)

    def request(self, kind: str, name: str) -> None:
        """Ask the operator, by its annotation, to renew what it issued itself."""
        change = {"metadata": {"annotations": {REQUEST: timestamp()}}}
        self.api.patch(f"{collection(kind)}/{name}", change)

    def until_changed(self, former: Contents, *, within: float) -> None:
        """Wait until each Secret holds another certificate than before."""

        def unchanged() -> list[str]:
            now = self.contents(*former)
            return [name for name, text in now.items() if not text or text == former[name]]

        wait.until(
            f"{', '.join(former)} hold new certificates",
            lambda: not unchanged(),
            within=within,
            explain=lambda: f"still the former: {', '.join(unchanged())}",
        )
