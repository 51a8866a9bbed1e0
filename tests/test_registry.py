"""What a configuration can name: entries of modules, built in and of one's own."""

import sys

import pytest
from plans import EXPERIMENT, load, wrap

from ntkflow.errors import ConfigurationError
from ntkstudy.registry import ACTIVATIONS, MEASUREMENTS, NETWORKS, TASKS

MODULE = '''
from ntkstudy.registry import NoOptions, measurement


@measurement("{name}", when="initialization")
def measure(options, networks, data):
    """Nothing."""
    return {{}}
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that registers a measurement; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    written = []

    def write(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)

    yield write
    for name in written:
        MEASUREMENTS.forget(name)
        sys.modules.pop(name, None)


def load_with(folder, *extensions, kind="profile"):
    measured = [{"kind": kind, "when": ["initialization"]}]
    config = wrap(e=EXPERIMENT | {"measurements": measured}) | {"extensions": list(extensions)}
    return load(folder, config)


def test_a_module_of_ones_own_brings_a_measurement_and_reaches_its_jobs(tmp_path, module):
    module("nothing", MODULE.format(name="nothing"))
    plan = load_with(tmp_path, "nothing", kind="nothing")
    config = plan.job_config("initialization", "e", "width~4", "0-3")
    assert config["modules"] == ["nothing", "ntkstudy.networks.mlp"]
    assert "nothing.py" in plan.code("initialization", "e", "width~4")
    assert MEASUREMENTS["nothing"].meaning == "Nothing."


def test_two_modules_cannot_have_one_name(tmp_path, module):
    module("first_of_two", MODULE.format(name="twice"))
    module("second_of_two", MODULE.format(name="twice"))
    with pytest.raises(ConfigurationError) as error:
        load_with(tmp_path, "first_of_two", "second_of_two")
    assert str(error.value) == (
        "measurements.kind: 'twice' is defined in first_of_two and in second_of_two; "
        "allowed: one module for each name"
    )


def test_a_built_in_name_cannot_be_taken(tmp_path, module):
    module("taken", MODULE.format(name="profile"))
    with pytest.raises(ConfigurationError) as error:
        load_with(tmp_path, "taken")
    assert str(error.value) == (
        "measurements.kind: 'profile' is defined in ntkstudy.measurements.profile and in taken; "
        "allowed: one module for each name"
    )


def test_an_unknown_extension_is_named(tmp_path, module):
    with pytest.raises(ConfigurationError) as error:
        load_with(tmp_path, "no_such_module")
    assert str(error.value) == (
        "extensions: 'no_such_module': No module named 'no_such_module'; allowed: a module in the "
        "project's folder, in scripts/ or installed"
    )


def test_what_an_extension_lacks_is_named_with_it(tmp_path, module):
    module("lacking", "import no_such_package\n")
    with pytest.raises(ConfigurationError) as error:
        load_with(tmp_path, "lacking")
    assert str(error.value).startswith("extensions: 'lacking': No module named 'no_such_package'; ")


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        (TASKS, "task.kind"),
        (NETWORKS, "network.kind"),
        (ACTIVATIONS, "network.activation"),
        (MEASUREMENTS, "measurements.kind"),
    ],
)
def test_an_unknown_name_is_one_line_with_what_is_known(registry, key):
    with pytest.raises(ConfigurationError) as error:
        registry["nonesuch"]
    assert str(error.value).startswith(f"{key}: 'nonesuch' is unknown; ")
    assert all(name in str(error.value) for name in registry)
    assert "\n" not in str(error.value)


def test_a_mapping_of_what_is_registered():
    assert "mlp" in NETWORKS
    assert "nonesuch" not in NETWORKS
    assert len(list(NETWORKS)) == len(NETWORKS)
