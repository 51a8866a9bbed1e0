"""Eigenvalue λₖ of the limit kernel on the circle, the Gram eigenvalue divided by the number of
points, against the Fourier mode k, both axes logarithmic; one panel per number of hidden layers,
one marker per σ_b. Dashed: k⁻². Eigenvalues that are exactly 0 (odd k ≥ 3, one hidden layer,
σ_b = 0) do not appear.
"""

import numpy as np

from ntkstudy.report.plotting import COLOURS, LIMIT_COLOUR, panel_row

TABLES = ("limit_circle_spectrum",)
MARKERS = ("o", "s", "^", "D")
ZERO = 1e-12  # below this an eigenvalue is the rounding error of 0


def draw(tables, cfg):
    """Panels of spectra, depths side by side on one vertical scale."""
    table = tables["limit_circle_spectrum"]
    table = table[(table["mode"] > 0) & (table["eigenvalue"] > ZERO)]
    depths = sorted(table["depth"].unique())
    figure, panels = panel_row(len(depths), 3.2)
    for axes, depth in zip(panels, depths, strict=True):
        groups = table[table["depth"] == depth].groupby("sigma_b")
        for colour, marker, (sigma_b, group) in zip(COLOURS, MARKERS, groups, strict=False):
            style = dict(marker=marker, color=colour, mfc="none", ms=4, mew=0.9, ls="")
            axes.plot(group["mode"], group["eigenvalue"], label=f"{sigma_b:g}", **style)
        k = np.array([4, 64])
        axes.plot(k, 0.12 * k**-2.0, "--", color=LIMIT_COLOUR, lw=1.5)
        axes.annotate("k⁻²", (16, 0.12 / 16**2), (6, 6), textcoords="offset points")
        axes.set(xscale="log", yscale="log", xlabel="Fourier mode k")
        axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
        axes.minorticks_off()
        axes.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}")
    panels[0].set_ylabel("eigenvalue λₖ")
    panels[-1].legend(title="bias scale σ_b")
    return figure
