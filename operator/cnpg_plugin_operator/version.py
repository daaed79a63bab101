"""The version of this program, for metrics and for `--version`."""

from cnpg_plugin_operator.names.resource import OPERATOR

UNKNOWN = "unknown"


def find_version() -> str:
    """Read the version of the installed package; a checkout that is not installed has none."""
    # It takes as long to load as the rest of `--help`.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        return version(OPERATOR)
    except PackageNotFoundError:
        return UNKNOWN
