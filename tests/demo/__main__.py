"""The command line: `python3 -m tests.demo` shows the product, `--down` removes it."""

import argparse
import sys

from tests.cluster import Cluster, ClusterError
from tests.demo import backup, story
from tests.demo.installing import install_operator


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m tests.demo",
        description="Start a real cluster, the operator, a plugin and a PostgreSQL that uses it.",
    )
    parser.add_argument("--name", default="dev", help="which cluster (default: dev)")
    parser.add_argument(
        "--show",
        choices=sorted(SHOWN),
        default="sample",
        help="what to show: the sample plugin, or plugin-barman-cloud with a backup and a restore",
    )
    parser.add_argument("--down", action="store_true", help="remove what the demo started")
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


def main() -> int:
    """Show or remove the product; print one clear message and exit 1 on failure."""
    options = _parser().parse_args()
    cluster = Cluster(options.name)
    try:
        if options.down:
            cluster.down()
        else:
            SHOWN[options.show](cluster)
    except (ClusterError, story.DemoError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the cluster keeps running (make demo-down removes it)", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
