"""How far right answers may lie apart, whatever the processor: from their type, size and terms.

Processors add up the terms of a sum in orders of their own, eight or sixteen at a time, and each
order rounds in its own way. So no bound is a round number that happened to hold on one machine.
"""

import math

import pytest

SINGLE, HALF = 2.0**-24, 2.0**-11  # of one rounding, relative, in float32 and in float16
SURE = 6.0  # deviations of a sum of roundings that no machine gets to see

double_precision = pytest.mark.usefixtures("float64_by_default")
"""A test of a formula: in float64 right answers agree to 1e-15, wrong ones to none of it."""


def rounding(terms: int, scale: float = 1.0, steps: int = 1, unit: float = SINGLE) -> float:
    """How far two sums of the same terms may lie apart that were added up in different orders.

    Source: Higham & Mary 2019, A New Approach to Probabilistic Rounding Error Analysis, theorem
    2.4: |error| <= lambda sqrt(n) u sum |x|, but for a chance that falls with exp(-lambda^2 / 2).

    Args:
        terms: n, added up in a sum, the terms of a product of vectors among them.
        scale: the largest sum of absolute terms; for terms of one sign, the largest sum.
        steps: sums of sums: layers behind each other, epochs, a function and its inverse.
        unit: u, of the type that is added up in or, where it is coarser, kept in.
    """
    return 2 * SURE * steps * math.sqrt(terms) * unit * scale
