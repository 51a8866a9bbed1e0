"""Amplitude of each Fourier mode k of the network's function, divided by the target's, along
training. Thin lines: one seed each; dashed: the infinitely wide network. Loss mean (f(x) − y)²,
step size η = {training.learning_rate}, output scale α = {training.output_scale}.
"""

from ntkstudy.report.plotting import (
    INK,
    colour_key,
    line_key,
    panel_row,
    spread_colours,
    with_configured,
)

TABLES = ("training_modes", "prediction_modes")


def draw(tables, cfg):
    """Amplitudes against steps, one panel per depth where that is swept."""
    trained, predicted = (
        shares(tables["training_modes"], cfg),
        shares(tables["prediction_modes"], cfg),
    )
    colours = spread_colours(trained["mode"])
    depths = sorted(trained["depth"].unique())
    figure, panels = panel_row(len(depths), 3.3)
    for axes, depth in zip(panels, depths, strict=True):
        for (mode, _), one in trained[trained["depth"] == depth].groupby(["mode", "seed"]):
            axes.plot(one["step"], one["share"], color=colours[mode], lw=0.9, alpha=0.8)
        for mode, one in predicted[predicted["depth"] == depth].groupby("mode"):
            axes.plot(one["step"], one["share"], "--", color=colours[mode], lw=1.6)
        axes.set(xscale="log", xlabel="steps of gradient descent")
        if len(depths) > 1:
            axes.set_title(f"{depth} hidden layer{'s' if depth > 1 else ''}")
    panels[0].set_ylabel("amplitude over target's")
    panels[0].set_ylim(-0.04, 1.15)
    key = [*colour_key("{}", colours), ("infinite width", {"color": INK, "ls": "--"})]
    figure.legend(handles=line_key(key), title="mode k", loc="outside right upper")
    return figure


def shares(table, cfg):
    """Rows after step 0 of the modes that the target has, with their share of the target's."""
    table = with_configured(table, cfg, "network.depth")
    table = table[(table["step"] > 0) & (table["target"] > 1e-6 * table["target"].max())]
    return table.assign(share=table["amplitude"] / table["target"])
