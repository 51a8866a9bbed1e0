"""What kernels of narrow networks tell of the predictions of a wide one."""

from dataclasses import dataclass, replace
from typing import Annotated

from ..needs import NTK, WIDTH, Facts, Need
from ..options import Rule
from ..registry import measurement


@dataclass(frozen=True, kw_only=True)
class EstimateWideOptions:
    """Which networks are drawn, and the regression with their kernels."""

    networks: Annotated[int, Rule("networks of each width that an estimate takes", minimum=1)] = 12
    halvings: Annotated[
        int, Rule("how often the width is halved: so many more widths", minimum=1)
    ] = 2
    ridge: Annotated[
        float, Rule("ridge, over the mean of the kernel's diagonal", exclusiveMinimum=0)
    ] = 0.01

    def widths(self, width: int) -> list[int]:
        """The widths of an estimate, the largest first."""
        return [width // 2**each for each in range(self.halvings + 1)]


def _can_be_halved(options: EstimateWideOptions, facts: Facts) -> bool:
    narrow, rest = divmod(getattr(facts.options, "width", 0), 2**options.halvings)
    if rest or not narrow:
        return False
    cell = replace(facts, options=replace(facts.options, width=narrow))
    return all(need.met(cell) for need in facts.network.needs)


def _asks(options: EstimateWideOptions) -> tuple[Need, ...]:
    text = f"a width that can be halved {options.halvings} times (measurements.halvings)"
    return (Need(text, lambda facts: _can_be_halved(options, facts)),)


@measurement(
    "estimate_wide",
    when="initialization",
    options=EstimateWideOptions,
    needs=(WIDTH, NTK),
    kernel="mean",
    asks=_asks,
)
def estimate_wide(options, networks, data):
    """Distance of kernel ridge regression with extrapolated kernels from that with the limit.

    Every seed is an estimate of its own: the kernels of so many random networks, with one output,
    of the width and of its halves are averaged width by width and extrapolated as a + b / n. f is
    kernel ridge regression with a on the test inputs, f_inf that with the limit kernel; negative
    eigenvalues of an extrapolated kernel count as zero. `gap`: ||f - f_inf|| / ||f_inf||; `widest`:
    the same of the mean kernel of the largest width; `single`: of one network of that width.
    `mean_square`: the mean of <f - f_inf, f' - f_inf> / ||f_inf||^2 over all pairs of estimates, as
    jackknife values: the squared distance without the noise of few networks; `widest_square`: the
    same of the mean kernel of the largest width; `linear_square`: the squared distance of
    regression with the kernel x . x'.
    """
    from ..subjects.estimate_wide import estimate_wide

    return estimate_wide(options, networks, data)
