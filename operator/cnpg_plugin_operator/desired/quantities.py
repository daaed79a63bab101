"""Kubernetes quantities (`500m`, `1Gi`, `1e3`), parsed as the API server parses them.

The API server returns them in another format: `1000m` as `1`, `.5` as `500m`.
"""

import re
from decimal import ROUND_UP, Decimal
from typing import Final

_QUANTITY: Final = re.compile(
    r"^([+-]?(?:\d{1,64}(?:\.\d{0,64})?|\.\d{1,64}))"
    r"(?:[eE]([+-]?\d{1,9})|(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei))?$"
)
"""`apimachinery/pkg/api/resource/quantity.go`: a sign, digits, then an exponent or a suffix."""

_SUFFIXES: Final = {
    **{unit: Decimal(1000) ** -power for power, unit in enumerate("mun", start=1)},
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
_MOST: Final = Decimal(2**63 - 1)
"""The API server stores larger quantities as this one."""

_LEAST: Final = Decimal("1e-9")
"""The API server rounds finer quantities up to a multiple of this one."""


def read_quantity(value: object) -> Decimal | None:
    """Parse a quantity, or return None where the value is invalid."""
    match = _QUANTITY.match(str(value))
    if match is None or isinstance(value, bool):
        return None
    number, exponent, suffix = Decimal(match[1]), match[2], match[3]
    if exponent is not None:
        number = number.scaleb(max(-300, min(int(exponent), 300)))
    elif suffix is not None:
        number *= _SUFFIXES[suffix]
    if abs(number) > _MOST:
        return _MOST.copy_sign(number)
    if 0 < abs(number) < _LEAST:
        return _LEAST.copy_sign(number)
    return number.quantize(_LEAST, rounding=ROUND_UP)
