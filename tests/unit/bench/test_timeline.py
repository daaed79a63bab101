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
    ]


def test_reads_that_follow_each_other_are_one_step() -> None:
    reads = [Step(at, OPERATOR, READS) for at in (0.1, 0.2, 0.6)]

    assert tell([*reads, Step(0.5, OPERATOR, "patch services/a")])[1:] == [
        "  0.200  +0.200  operator      2 reads",
        "  0.500  +0.300  operator      patch services/a",
        "  0.600  +0.100  operator      1 reads",
    ]
