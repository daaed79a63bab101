"""kubectl is run as the user would, and what it refuses names the missing right."""

import json
from pathlib import Path

import pytest

from cnpg_plugin_operator import errors
from cnpg_plugin_operator.cluster import kinds
from cnpg_plugin_operator.kubectl.access import Kubectl, translate

PROGRAM = """#!/bin/sh
printf '%s\\n' "$@" > "{words}"
printf '%s' '{out}'
printf '%s' '{err}' >&2
exit {status}
"""


class Scripted:
    """A program that is asked instead of kubectl."""

    def __init__(self, directory: Path, out: str = "", err: str = "", status: int = 0) -> None:
        self._words = directory / "words"
        program = directory / "kubectl"
        program.write_text(PROGRAM.format(words=self._words, out=out, err=err, status=status))
        program.chmod(0o755)
        self.kubectl = Kubectl([str(program)], kubeconfig="/some/config", context="there")

    @property
    def words(self) -> list[str]:
        return self._words.read_text().splitlines()


FORBIDDEN = (
    "Error from server (Forbidden): {resource} is forbidden: "
    'User "ada" cannot {verb} resource "{resource}" in API group "{group}"{where}'
)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (
            FORBIDDEN.format(
                resource="cnpgplugins",
                verb="list",
                group="cnpgplugin.dev",
                where=' in the namespace "cnpg-system"',
            ),
            errors.ForbiddenError,
            "ada lacks the right to list cnpgplugins.cnpgplugin.dev in namespace cnpg-system",
        ),
        (
            FORBIDDEN.format(
                resource="deployments", verb="list", group="apps", where=" at the cluster scope"
            ),
            errors.ForbiddenError,
            "ada lacks the right to list deployments.apps in all namespaces",
        ),
        (
            FORBIDDEN.format(resource="pods/exec", verb="create", group="", where=""),
            errors.ForbiddenError,
            "ada lacks the right to create pods/exec in all namespaces",
        ),
        (
            'Error from server (Forbidden): admission webhook "x" denied the request',
            errors.ForbiddenError,
            'admission webhook "x" denied the request',
        ),
        (
            'Error from server (NotFound): cnpgplugins.cnpgplugin.dev "x" not found',
            errors.NotFoundError,
            '"x" not found',
        ),
        (
            "Error from server (NotFound): the server could not find the requested resource",
            errors.KindMissingError,
            "could not find the requested resource",
        ),
        (
            "Unable to connect to the server: dial tcp 10.0.0.1:6443: i/o timeout",
            errors.UnavailableError,
            "the API server cannot be reached",
        ),
        ("", errors.UnavailableError, "said nothing"),
        ("red \x1b[31m", errors.UnavailableError, "red \ufffd[31m"),
    ],
)
def test_what_kubectl_says_becomes_an_error(
    said: str, kind: type[errors.ClusterError], words: str
) -> None:
    error = translate(said)
    assert type(error) is kind
    assert words in str(error)


def test_a_list_is_one_request_with_the_users_connection(tmp_path: Path) -> None:
    asked = Scripted(tmp_path, out='{"items": [{"metadata": {"name": "a"}}]}')
    found = asked.kubectl.list(kinds.DEPLOYMENT, "ns", labels="a=b,c")
    assert found == [{"metadata": {"name": "a"}}]
    assert asked.words == [
        *("--kubeconfig=/some/config", "--context=there", "get"),
        "--raw=/apis/apps/v1/namespaces/ns/deployments?labelSelector=a%3Db%2Cc",
    ]


def test_an_annotation_is_one_request(tmp_path: Path) -> None:
    asked = Scripted(tmp_path)
    asked.kubectl.annotate(kinds.PLUGIN, "hello", "ns", "key", "value")
    assert asked.words[2:] == [
        *("annotate", "cnpgplugins.cnpgplugin.dev", "hello"),
        *("--namespace=ns", "--overwrite", "key=value"),
    ]


def test_a_status_is_merged_and_nothing_else_written(tmp_path: Path) -> None:
    asked = Scripted(tmp_path)
    asked.kubectl.patch_status(kinds.CERTIFICATE, "hello", "ns", {"status": {"a": 1}})
    assert asked.words[2:] == [
        *("patch", "certificates.cert-manager.io", "hello", "--namespace=ns"),
        *("--subresource=status", "--type=merge", '--patch={"status": {"a": 1}}'),
    ]


def test_a_command_in_a_pod_keeps_its_status(tmp_path: Path) -> None:
    said = "careful\ncommand terminated with exit code 1\n"
    asked = Scripted(tmp_path, out="told", err=said, status=1)
    done = asked.kubectl.execute("ns", "deployment/operator", "main", ["diagnose", "-x"])
    assert (done.status, done.out, done.err) == (1, "told", "careful")
    assert asked.words[2:] == [
        *("exec", "--namespace=ns", "deployment/operator", "--container=main", "--"),
        *("diagnose", "-x"),
    ]


def test_a_command_that_did_not_run_is_an_error(tmp_path: Path) -> None:
    said = 'Error from server (Forbidden): pods "x" is forbidden: User "ada" cannot create resource'
    asked = Scripted(
        tmp_path, err=f'{said} "pods/exec" in API group "" in the namespace "ns"', status=1
    )
    with pytest.raises(errors.ForbiddenError, match="create pods/exec in namespace ns"):
        asked.kubectl.execute("ns", "deployment/operator", "main", ["diagnose"])


@pytest.mark.parametrize("out", ["", "[]", "<html>"])
def test_an_answer_that_is_no_object_is_an_error(tmp_path: Path, out: str) -> None:
    with pytest.raises(errors.UnavailableError):
        Scripted(tmp_path, out=out).kubectl.get(kinds.PLUGIN, "hello", "ns")


def test_without_kubectl_the_error_says_so() -> None:
    with pytest.raises(errors.UnavailableError, match="cannot run /nowhere/kubectl"):
        Kubectl(["/nowhere/kubectl"]).versions()


@pytest.mark.parametrize(("out", "status", "expected"), [("app", 0, "app"), ("", 1, "default")])
def test_the_namespace_is_that_of_the_context(
    tmp_path: Path, out: str, status: int, expected: str
) -> None:
    assert Scripted(tmp_path, out=out, status=status).kubectl.namespace() == expected


def test_versions_and_logs_are_read(tmp_path: Path) -> None:
    asked = Scripted(tmp_path, out=json.dumps({"serverVersion": {}}))
    assert asked.kubectl.versions() == {"serverVersion": {}}
    asked.kubectl.logs("ns", "pod", "main", previous=True, lines=5)
    assert asked.words[2:] == [
        *("logs", "--namespace=ns", "pod", "--container=main", "--tail=5", "--previous")
    ]
