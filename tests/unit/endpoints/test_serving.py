"""Both ports over real connections, with an API server that reviews tokens."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization

from cnpg_plugin_operator.endpoints.certificate import ServedPair
from cnpg_plugin_operator.endpoints.serving import serve
from cnpg_plugin_operator.errors import SettingsError
from cnpg_plugin_operator.settings import Settings
from cnpg_plugin_operator.telemetry import Metrics, Readiness
from tests.support.loopback import HOST, free_port, write_kubeconfig
from tests.support.tls.certificates import Pair, authority, issue

READER = {"username": "prometheus", "uid": "1", "groups": ["a"], "extra": {"pod": ["p"]}}
USERS = {"good": READER, "weak": {"username": "visitor", "groups": []}}


class ReviewAPI:
    """An API server that reviews tokens and rights, and repeats the token as the real one does."""

    def __init__(self) -> None:
        self.refuses = False
        self.asked: list[dict[str, Any]] = []

    def build(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", self._review)
        app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", self._allow)
        return app

    async def _review(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.refuses:
            said = {"kind": "Status", "message": f"no review of {body['spec']['token']}"}
            return web.json_response(said, status=403)
        user = USERS.get(body["spec"]["token"])
        status = {"authenticated": True, "user": user} if user else {"error": "invalid"}
        return web.json_response({**body, "status": status}, status=201)

    async def _allow(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body["spec"])
        allowed = body["spec"]["user"] == "prometheus"
        return web.json_response({**body, "status": {"allowed": allowed}}, status=201)


def write(directory: Path, pair: Pair) -> None:
    for name, data in pair.secret.items():
        (directory / name).write_bytes(data)


class Served:
    """The operator's ports, and who is asked."""

    def __init__(self, directory: Path) -> None:
        self.api = ReviewAPI()
        self.authority = authority()
        self.directory = directory
        self.metrics = Metrics()
        self.plain, self.secure, port = free_port(), free_port(), free_port()
        self.api_runner = web.AppRunner(self.api.build(), access_log=None)
        self.api_port = port
        write(directory, self.issue())
        self.settings = Settings(
            http_address=(HOST, self.plain),
            metrics_address=(HOST, self.secure),
            metrics_certificate=str(directory),
            kubeconfig=str(write_kubeconfig(directory, port)),
        )

    def issue(self) -> Pair:
        return issue(self.authority, "metrics", dns=("metrics.operators.svc",))

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.leaf.decode())

    async def scrape(
        self, authorization: str | None, path: str = "/metrics"
    ) -> tuple[int, str, dict[str, str]]:
        """Ask as Prometheus does."""
        headers = {} if authorization is None else {"Authorization": authorization}
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"https://{HOST}:{self.secure}{path}",
                headers=headers,
                ssl=self.trust(),
                server_hostname="metrics.operators.svc",
            ) as answer,
        ):
            return answer.status, await answer.text(), dict(answer.headers)

    async def ask(self, path: str) -> tuple[int, str]:
        """Ask the port for everyone."""
        url = f"http://{HOST}:{self.plain}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def serial(self, server_name: str | None = "metrics.operators.svc") -> bytes:
        """The certificate that a new connection shows."""
        trust = self.trust()
        if server_name is None:
            trust.check_hostname = False
            server_name = ""
        _, writer = await asyncio.open_connection(
            HOST, self.secure, ssl=trust, server_hostname=server_name
        )
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        await writer.wait_closed()
        return ssl.DER_cert_to_PEM_cert(shown).encode()


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    found = Served(tmp_path)
    await found.api_runner.setup()
    await web.TCPSite(found.api_runner, HOST, found.api_port).start()
    async with serve(found.settings, found.metrics, Readiness(), str):
        yield found
    await found.api_runner.cleanup()


async def test_who_may_read_reads(served: Served) -> None:
    status, text, headers = await served.scrape("Bearer good")
    assert status == 200
    assert "cnpg_plugin_operator_build_info" in text
    assert headers["Content-Type"].startswith("text/plain; version=")
    rest = {key: value for key, value in READER.items() if key != "username"}
    where = {"path": "/metrics", "verb": "get"}
    assert served.api.asked == [
        {"user": "prometheus", **rest, "nonResourceAttributes": where},
    ]


@pytest.mark.parametrize(
    ("authorization", "expected", "says"),
    [
        (None, 401, "a bearer token"),
        ("Bearer bad", 401, "a bearer token"),
        ("Bearer", 401, "a bearer token"),
        ("Bearer good but not alone", 401, "a bearer token"),
        ("Bearer g\u00f6\u00f6d", 401, "a bearer token"),
        ("Basic good", 401, "a bearer token"),
        ("Bearer weak", 403, "may not get the URL /metrics"),
    ],
)
async def test_all_others_do_not(
    served: Served, authorization: str | None, expected: int, says: str
) -> None:
    status, text, headers = await served.scrape(authorization)
    assert status == expected
    assert says in text
    assert (headers.get("WWW-Authenticate") == "Bearer") == (expected == 401)


async def test_the_port_for_everyone_has_the_probes_but_no_metrics(served: Served) -> None:
    assert await served.ask("/healthz") == (200, "ok\n")
    assert (await served.ask("/readyz"))[0] == 503
    assert (await served.ask("/metrics"))[0] == 404
    assert (await served.scrape("Bearer good", "/healthz"))[0] == 404


async def test_without_an_answer_of_the_api_server_nothing_is_served(served: Served) -> None:
    await served.api_runner.cleanup()
    status, text, _ = await served.scrape("Bearer good")
    assert (status, text) == (503, "the API server does not answer whose the token is\n")


async def test_a_token_gets_into_no_log_line_and_no_metric(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    served.api.refuses = True
    assert (await served.scrape("Bearer s3cret"))[0] == 503
    served.api.refuses = False
    assert (await served.scrape("Bearer s3cret"))[0] == 401
    _, text, _ = await served.scrape("Bearer good")
    assert "s3cret" not in text + caplog.text
    assert "cannot find out who may read the metrics: TokenReview: no review of …" in caplog.text


def test_tls_begins_with_1_2(tmp_path: Path) -> None:
    write(tmp_path, issue(None))
    assert ServedPair(tmp_path).context.minimum_version == ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("server_name", ["metrics.operators.svc", None])
async def test_a_renewed_pair_is_served_at_once(served: Served, server_name: str | None) -> None:
    renewed = served.issue()
    assert await served.serial(server_name) != renewed.leaf
    write(served.directory, renewed)
    assert await served.serial(server_name) == renewed.leaf


async def test_a_broken_pair_does_not_replace_one_that_works(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    before = await served.serial()
    (served.directory / "tls.key").write_bytes(served.issue().key)
    assert [await served.serial() for _ in range(3)] == [before] * 3
    [said] = caplog.messages
    assert "tls.key does not belong to tls.crt" in said
    (served.directory / "tls.crt").unlink()
    assert await served.serial() == before
    renewed = served.issue()
    write(served.directory, renewed)
    assert await served.serial() == renewed.leaf


def encrypted(pair: Pair) -> bytes:
    return pair.key_object.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )


Spoil = Callable[[Served], object]

BROKEN: dict[str, tuple[Spoil, str]] = {
    "no certificate": (
        lambda it: (it.directory / "tls.crt").unlink(),
        "tls.crt: No such file or directory",
    ),
    "no key": (
        lambda it: (it.directory / "tls.key").unlink(),
        "tls.key: No such file or directory",
    ),
    "no PEM": (
        lambda it: (it.directory / "tls.crt").write_text("hello"),
        "tls.crt contains no certificate in PEM",
    ),
    "the key of another one": (
        lambda it: (it.directory / "tls.key").write_bytes(it.issue().key),
        "tls.key does not belong to tls.crt",
    ),
    "an encrypted key": (
        lambda it: (it.directory / "tls.key").write_bytes(encrypted(it.issue())),
        "tls.key is encrypted",
    ),
    "an empty key": (
        lambda it: (it.directory / "tls.key").write_bytes(b""),
        "tls.key is missing or empty",
    ),
}


async def start(settings: Settings) -> None:
    async with serve(settings, Metrics(), Readiness(), str):
        raise AssertionError("the ports are open")


@pytest.mark.parametrize(("spoil", "says"), BROKEN.values(), ids=BROKEN)
async def test_an_unusable_pair_ends_the_start(tmp_path: Path, spoil: Spoil, says: str) -> None:
    found = Served(tmp_path)
    spoil(found)
    with pytest.raises(SettingsError) as error:
        await start(found.settings)
    assert str(error.value).startswith(f"CNPGP_METRICS_CERTIFICATE: {tmp_path}")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


async def test_an_address_needs_a_pair() -> None:
    settings = Settings(http_address=(HOST, free_port()), metrics_address=(HOST, free_port()))
    with pytest.raises(SettingsError, match="needs CNPGP_METRICS_CERTIFICATE"):
        await start(settings)


async def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    found = Served(tmp_path)
    with socket.socket() as taken:
        taken.bind((HOST, found.secure))
        taken.listen()
        with pytest.raises(SettingsError, match=f"CNPGP_METRICS_ADDRESS {HOST}:{found.secure}"):
            await start(found.settings)
