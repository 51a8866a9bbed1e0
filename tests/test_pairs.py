"""Every pair of a measurement and a moment is refused at planning in one line, or runs."""

import re
from random import Random

import pytest
from pairs import CELLS, PAIRS, ROOT, build, run, unmet, write_own_files

from ntkflow.errors import ConfigurationError
from ntkstudy.data.storage import open_file
from ntkstudy.registry import MEASUREMENTS, WHEN

pytestmark = pytest.mark.usefixtures("one_thread", "folder")
DEFINED = [pair for pair in PAIRS if pair[1] in MEASUREMENTS[pair[0]].variants]
STAGE_OF = {"trained": "ntk", "training": "train"}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    write_own_files(folder)
    (folder / "resources").symlink_to(ROOT / "resources")
    return folder


@pytest.fixture
def folder(own, monkeypatch):
    """Where data sets and a network of one's own lie."""
    monkeypatch.chdir(own)
    monkeypatch.syspath_prepend(own)
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return own


def shuffled(kind, when):
    cells = [(cell, unmet(kind, when, cell)) for cell in CELLS]
    Random(f"{kind} {when}").shuffle(cells)
    return [cell for cell, needs in cells if not needs], [pair for pair in cells if pair[1]]


def check_run(kind, when, cell, folder):
    made = run(build(kind, when, cell), when, folder)
    with open_file(made, STAGE_OF.get(when, when)) as file:
        axes = {axis for name in file.names(kind) for axis in file.array(f"{kind}/{name}").dims}
    declared = set(MEASUREMENTS[kind].axes(when)) - {"probe"}
    assert declared <= axes


@pytest.mark.parametrize(("kind", "when"), [pair for pair in PAIRS if pair not in DEFINED])
def test_a_moment_that_a_measurement_lacks_is_refused(kind, when):
    allowed = ", ".join(MEASUREMENTS[kind].variants)
    message = f"measurements[0].when[0]: {when!r} is not allowed for {kind}; allowed: {allowed}"
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        build(kind, when, ("mnist", "mlp", "mse"))


@pytest.mark.parametrize(("kind", "when"), DEFINED)
def test_what_a_plan_accepts_runs(kind, when, folder):
    accepted, refused = shuffled(kind, when)
    check_run(kind, when, accepted[0], folder)
    of_ones_own = [cell for cell in accepted if cell[1] == "module"]
    if of_ones_own and accepted[0][1] != "module":
        check_run(kind, when, of_ones_own[0], folder)
    for cell, needs in refused[:3]:
        with pytest.raises(ConfigurationError) as error:
            build(kind, when, cell)
        assert any(need.text in str(error.value) for need in needs)
        assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "when"), DEFINED)
def test_more_of_what_a_plan_accepts_runs(kind, when, folder):
    for cell in shuffled(kind, when)[0][1:8]:
        check_run(kind, when, cell, folder)


def test_there_are_as_many_pairs_as_kinds_and_moments():
    assert len(PAIRS) == len(MEASUREMENTS) * len(WHEN)
    assert len(PAIRS) >= 294
