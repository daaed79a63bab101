"""The timeline of one plugin, as it is told."""

from tests.bench.timeline import OPERATOR, READS, Step, tell


def test_steps_are_told_in_order_with_the_time_since_the_previous_one() -> None:
    steps = [
        Step(1.5, "cert-manager", "Certificate a is Ready"),
        Step(0.25, OPERATOR, "patch certificates/a"),
    ]

    assert tell(steps)[1:] == [
        "  0.250  +0.250  operator      patch certificates/a",
        "  1.500  +1.250  cert-manager  Certificate a is Ready",
        "steps ended by: operator 0.25 s, cert-manager 1.25 s",
    ]


def test_the_time_of_reads_belongs_to_the_step_that_ends_it() -> None:
    reads = [Step(at, OPERATOR, READS) for at in (0.1, 0.2, 0.6)]

    assert tell([*reads, Step(0.5, "Kubernetes", "Pod is Ready"), Step(0.7, OPERATOR, "Ready")])[
        1:
    ] == [
        "  0.500  +0.500  Kubernetes    Pod is Ready  (after 2 reads)",
        "  0.700  +0.200  operator      Ready  (after 1 reads)",
        "steps ended by: Kubernetes 0.50 s, operator 0.20 s",
    ]
