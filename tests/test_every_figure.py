"""Every figure and animation of the study is drawn from tables of a run, thinned."""

import importlib

import matplotlib.pyplot as plt
import pytest
from figure_tables import drawn, tables_of
from plans import ROOT, study_plan

from ntkstudy.report.plotting import use_style

pytestmark = pytest.mark.slow

PLAN = study_plan()
CASES = list(drawn(PLAN))


@pytest.fixture(autouse=True)
def style():
    use_style()
    yield
    plt.close("all")


def unlabelled(figure) -> list[str]:
    """Axes with ticks whose label stands neither on them nor on others of their row or column.

    A title says what is drawn where the axis has no label of its own; words as ticks need none.
    """
    figure.draw_without_rendering()
    panels = [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]
    panels = [axes for axes in panels if axes.axison and axes.get_subplotspec()]
    found = []
    for axes in panels:
        place = axes.get_subplotspec()
        column = [one for one in panels if one.get_subplotspec().colspan == place.colspan]
        row = [one for one in panels if one.get_subplotspec().rowspan == place.rowspan]
        across = figure.get_supxlabel() or any(one.get_xlabel() for one in column)
        up = figure.get_supylabel() or any(one.get_ylabel() for one in row)
        if not across and numbered(axes.xaxis):
            found.append(f"x of {axes.get_title()!r}")
        if not up and not axes.get_title() and numbered(axes.yaxis):
            found.append(f"y of {axes.get_title()!r}")
    return found


def numbered(axis) -> bool:
    """Whether an axis has numbers as ticks."""
    texts = [label.get_text() for label in axis.get_ticklabels() if label.get_visible()]
    return any(text[0] in "$-−0123456789" for text in texts if text)


@pytest.mark.parametrize(
    ("experiment", "kind", "figure"), CASES, ids=["-".join(case) for case in CASES]
)
def test_figures_are_drawn_with_labels(experiment, kind, figure):
    script = importlib.import_module(f"{kind}.{figure}")
    made = script.draw(tables_of(experiment, kind, figure), PLAN.figure_config(experiment))
    if kind == "animations":
        made, show, count = made
        for index in (0, count - 1):
            show(index)
    assert unlabelled(made) == []
    assert any(axes.has_data() for axes in made.axes)


def test_every_script_is_drawn():
    drawn_scripts = {(kind, figure) for _, kind, figure in CASES}
    for folder in ("figures", "animations"):
        names = {path.stem for path in (ROOT / "scripts" / folder).glob("*.py")}
        assert {figure for kind, figure in drawn_scripts if kind == folder} == names


def test_a_missing_label_is_noticed():
    figure, axes = plt.subplots()
    axes.plot([1, 2])
    assert unlabelled(figure) == ["x of ''", "y of ''"]
    axes.set(xlabel="step", title="loss")
    assert unlabelled(figure) == []
