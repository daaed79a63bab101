"""Renews certificates early, as users do, and waits until that is done."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from tests.support import wait
from tests.support.e2e.announced import Peers
from tests.support.e2e.api import Api, ApiError, Object
from tests.support.e2e.plugins import collection

REQUEST: Final = "cnpgplugin.dev/renew-requested-at"
"""The operator's annotation: what it issued before that moment is renewed."""

_CONFLICT = 409

Contents = dict[str, str]
"""The `tls.crt` of Secrets, by their names."""


def timestamp() -> str:
    """The time as `date -u +%FT%TZ` writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def renewing(certificate: Object) -> list[Object]:
    """Give the conditions by which cert-manager issues a Certificate now: `cmctl renew`."""
    others = [c for c in certificate["status"]["conditions"] if c["type"] != "Issuing"]
    issuing = {
        "type": "Issuing",
        "status": "True",
        "reason": "ManuallyTriggered",
        "message": "Certificate re-issuance manually triggered",
        "lastTransitionTime": timestamp(),
        "observedGeneration": certificate["metadata"]["generation"],
    }
    return [*others, issuing]


@dataclass(frozen=True)
class Renewals:
    """Requests renewals in the plugins' namespace; they are complete when Secrets have changed."""

    api: Api
    peers: Peers

    def ask_for_leaves(self, provider: str, plugin: str) -> Contents:
        """Request both certificates of a plugin; return the previous content of their Secrets."""
        previous = self.leaves(plugin)
        if provider == "SelfManaged":
            self.request("CNPGPlugin", plugin)
        else:
            for secret in previous:
                self.renew_certificate(secret)
        return previous

    def leaves(self, plugin: str) -> Contents:
        """The content of the Secrets with both certificates of a plugin."""
        return self.contents(f"{plugin}-server-tls", self.peers.announced(plugin).client_secret)

    def ask_for_authority(self, provider: str, secret: str) -> Contents:
        """Request a new CA; return the previous content of its Secret."""
        previous = self.contents(secret)
        if provider == "SelfManaged":
            self.request("Secret", secret)
        else:
            self.renew_certificate(secret)
        return previous

    def contents(self, *secrets: str) -> Contents:
        """The present `tls.crt` of each Secret; empty if the Secret does not exist."""
        found = {name: self.api.find(f"{collection('Secret')}/{name}") for name in secrets}
        return {
            name: ((secret or {}).get("data") or {}).get("tls.crt", "")
            for name, secret in found.items()
        }

    def renew_certificate(self, name: str) -> None:
        """Do what `cmctl renew` does: make cert-manager issue a Certificate now."""
        path = f"{collection('Certificate')}/{name}"

        def ask() -> bool:
            found = self.api.get(path)
            change = {
                "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
                "status": {"conditions": renewing(found)},
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
        """Request, with the annotation, that the operator renews what it issued."""
        change = {"metadata": {"annotations": {REQUEST: timestamp()}}}
        self.api.patch(f"{collection(kind)}/{name}", change)

    def until_changed(self, previous: Contents, *, within: float) -> None:
        """Wait until each Secret holds another certificate than before."""

        def unchanged() -> list[str]:
            now = self.contents(*previous)
            return [name for name, text in now.items() if not text or text == previous[name]]

        wait.until(
            f"{', '.join(previous)} contain new certificates",
            lambda: not unchanged(),
            within=within,
            explain=lambda: f"still the previous ones: {', '.join(unchanged())}",
        )
