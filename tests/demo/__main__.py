"""The command line: `python3 -m tests.demo` shows the product, `--down` removes it.

Where KUBECONFIG is set, it does so on that cluster; else it builds one.
"""

import argparse
import os
import sys

from tests.cluster import Cluster, ClusterError
from tests.demo import backup, existing, story
from tests.demo.installing import install_operator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.demo",
        description="Show the operator, a plugin and a PostgreSQL that uses it, on a real cluster "
        "that this starts, or on the one of KUBECONFIG.",
    )
    parser.add_argument("--name", default="dev", help="which cluster to start (default: dev)")
    parser.add_argument(
        "--show",
        choices=sorted(SHOWN),
        default="sample",
        help="what to show: the sample plugin, or plugin-barman-cloud with a backup and a restore",
    )
    parser.add_argument("--down", action="store_true", help="remove what the demo started")
    chosen = parser.add_argument_group("on the cluster of KUBECONFIG")
    chosen.add_argument("--yes", action="store_true", help="do not ask")
    chosen.add_argument("--image", default="", help="the operator's image")
    chosen.add_argument(
        "--mirror",
        default=existing.PUBLISHED,
        help=f"where the images of {existing.PUBLISHED} are pulled from",
    )
    chosen.add_argument(
        "--cnpg",
        default=existing.CNPG_MANIFEST,
        help="what installs CloudNativePG where it is missing: an address or a file",
    )
    return parser


def _show_sample(cluster: Cluster) -> None:
    cluster.up()
    install_operator(cluster)
    plugin = story.show_plugin(cluster)
    database = story.show_database(cluster)
    print(story.describe(cluster, plugin, database))


def _show_backup(cluster: Cluster) -> None:
    cluster.up()
    install_operator(cluster, backup.FILES / "values.yaml")
    print(backup.show(cluster))


SHOWN = {"sample": _show_sample, "backup": _show_backup}


def _start(options: argparse.Namespace) -> None:
    cluster = Cluster(options.name)
    if options.down:
        cluster.down()
    else:
        SHOWN[options.show](cluster)


def _use(options: argparse.Namespace) -> None:
    def agrees(what: str) -> bool:
        print(what, flush=True)
        return options.yes or input("Continue? [y/N] ").strip().lower() in ("y", "yes")

    cluster = existing.Existing()
    if options.down:
        print(existing.remove(cluster, agrees))
    else:
        chosen = existing.Options(options.image, options.mirror, options.cnpg)
        print(existing.show(cluster, chosen, agrees))


def main() -> int:
    """Show or remove the product; print one clear message and exit 1 on failure."""
    options = _parser().parse_args()
    try:
        if os.environ.get("KUBECONFIG"):
            _use(options)
        else:
            _start(options)
    except (ClusterError, story.DemoError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except EOFError:
        print(
            "error: there is no answer; --yes agrees in advance (make demo YES=1)", file=sys.stderr
        )
        return 1
    except KeyboardInterrupt:
        print("interrupted; the cluster keeps running (make demo-down removes it)", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
