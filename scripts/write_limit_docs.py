"""Write the tables of docs/limits.md from what `ntkflow.limit_kernels` reads (`make docs`).

Layers, functions and activations are those of the tables in the code, so that a new activation has
its row by itself. A new layer or function needs an entry of `LAYERS`, `MODULES` or `FUNCTIONS`,
which says what code does not: how its limit is computed, who published it, and what neural-tangents
has.
"""

import functools
import inspect
import operator
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from ntkflow import networks
from ntkflow.limits import duals
from ntkflow.limits.activations import ACTIVATIONS, find_dual
from ntkflow.limits.hermite import HermiteDual
from ntkflow.limits.piecewise import PiecewiseDual, PiecewiseLinearDual
from ntkflow.limits.reading.functions import HANDLERS
from ntkflow.limits.reading.layers import GATED, LEAVES, TWINS
from ntkflow.limits.reading.moves import COPIES, LOOKED_AT
from ntkflow.networks.attention import SCALINGS
from write_docs import replaced, table

PAGE = Path("docs/limits.md")
HEAD = "what", "options", "how", "source", "neural-tangents 0.6.5"


class Facts(NamedTuple):
    """What a row says beside what the code does."""

    how: str
    source: str
    peer: str


def _arxiv(text: str, number: str) -> str:
    return f"[{text}](https://arxiv.org/abs/{number})"


JACOT = _arxiv("Jacot et al. 2018", "1806.07572")
ARORA = _arxiv("Arora et al. 2019", "1904.11955")
YANG = _arxiv("Yang 2020", "2006.14548")
NORMS = _arxiv("Yang 2019", "1902.04760")
DROPOUT = _arxiv("Schoenholz et al. 2017", "1611.01232")
HRON = _arxiv("Hron et al. 2020", "2006.10540")
RECURRENT = _arxiv("Alemohammad et al. 2021", "2006.10246")
HERMITE = _arxiv("Daniely et al. 2016", "1602.05897")
EXACT = "closed form"
SAMPLED = "sampled (`ntkflow.monte_carlo_kernels`)"
MADE = "made of the layers above"

# By the reader of a layer in `LEAVES`; attention has a row for each of its scalings.
LAYERS = {
    "dense": Facts(EXACT, JACOT, "`Dense`"),
    "convolution": Facts(EXACT, ARORA, "`Conv`: strides, zero and circular padding"),
    "transposed": Facts(EXACT, YANG, "`ConvTranspose`"),
    "embedding": Facts(EXACT, JACOT, "no"),
}
ATTENTION = {
    "tied 1/d": Facts(EXACT, HRON, "`GlobalSelfAttention`, `linear_scaling=True`"),
    "many heads": Facts(
        f"{EXACT} with `score='identity'`, else sampled",
        HRON,
        "`GlobalSelfAttention`, `linear_scaling=False`",
    ),
    "1/sqrt(d)": Facts("refused: scores stay random", HRON, "no"),
}
# By class; made of layers that have rows of their own.
MODULES = {
    networks.GlobalAveragePool: Facts(EXACT, ARORA, "`GlobalAvgPool`"),
    networks.Residual: Facts(EXACT, YANG, "`FanOut`, `FanInSum`"),
    networks.RNNCell: Facts(MADE, RECURRENT, "no"),
    networks.RNN: Facts(MADE, RECURRENT, "no"),
    networks.TransformerEncoderLayer: Facts(MADE, HRON, "its parts, without gains of norms"),
    networks.TransformerEncoder: Facts(MADE, HRON, "its parts, without gains of norms"),
}
# By the reader of a function in `HANDLERS`.
FUNCTIONS = {
    "add": Facts(EXACT, YANG, "`FanInSum` of Gaussian values"),
    "sub": Facts(EXACT, YANG, "no"),
    "rsub": Facts(EXACT, YANG, "no"),
    "mul": Facts(EXACT, YANG, "`FanInProd`"),
    "div": Facts(EXACT, YANG, "no"),
    "neg": Facts(EXACT, YANG, "no"),
    "mean": Facts(EXACT, ARORA, "`GlobalAvgPool`"),
    "total": Facts(EXACT, ARORA, "`GlobalSumPool`"),
    "average_pool": Facts(EXACT, ARORA, "`AvgPool`, `SumPool`"),
    "adaptive_pool": Facts(EXACT, ARORA, "no"),
    "dropout": Facts(EXACT, DROPOUT, "`Dropout`"),
    "feature_dropout": Facts("evaluation mode alone", "", "no"),
    "interpolate": Facts(EXACT, "", "`ImageResize`, linear too"),
    "layer_norm": Facts(
        f"{EXACT}, learnt gain too", NORMS, "`LayerNorm`, no gain, Gaussian values"
    ),
    "rms_norm": Facts(f"{EXACT}, learnt gain too", NORMS, "no"),
    "group_norm": Facts(f"{EXACT}, learnt gain too", NORMS, "no"),
}

HERMITE_SERIES, PIECES = "Hermite series", "pieces between kinks"
PRICE = "Price's theorem"
# By the type of a dual; those with moments have sources of their own.
DUALS = {
    duals.Homogeneous: (EXACT, "Cho, Saul 2009"),
    HermiteDual: (HERMITE_SERIES, HERMITE),
    PiecewiseLinearDual: (f"{PIECES}, linear", PRICE),
    PiecewiseDual: (PIECES, PRICE),
}
MOMENTS = {
    duals.erf_moments: "Williams 1997",
    duals.erfc_moments: "Williams 1997",
    duals.gelu_moments: _arxiv("Tsuchida et al. 2021", "2002.08517"),
    **dict.fromkeys(
        [duals.sin_moments, duals.cos_moments, duals.exp_moments],
        "characteristic function of the Gaussian",
    ),
}
PEERS = {
    **{name.lower(): f"`{name}`" for name in ("Relu", "LeakyRelu", "Abs", "Erf", "Gelu")},
    **{name.lower(): f"`{name}`" for name in ("Sin", "Cos", "Exp", "Sign")},
    **dict.fromkeys(["square", "pow"], "`Monomial`, `Polynomial`"),
    **dict.fromkeys(["prelu", "rrelu"], "`LeakyRelu`"),
}
NUMERICAL = "by quadrature (`ElementwiseNumerical`)"
ALIASES = {"absolute": "abs", "clip": "clamp", "expit": "sigmoid", "sgn": "sign"}
ALIASES |= {"arctan": "atan", "arcsinh": "asinh"}
# Options without which an activation cannot be called.
NEEDED = {
    "threshold": (0.0, 0.0),
    "clamp": (-1.0, 1.0),
    "pow": (2,),
    "prelu": (torch.tensor([0.25], dtype=torch.float64),),
}
# Options that change no kernel, have a row of their own, or are refused but for their default.
APART = {"device", "dtype", "inplace", "out", "scale", "outputs", "scaling"}
APART |= {"min_value", "max_value"}
APART |= {"rounding_mode", "ceil_mode", "count_include_pad", "divisor_override", "align_corners"}


def tables() -> dict[str, str]:
    """Every table of the page by name."""
    return {
        "layers": table(*HEAD, rows=_layer_rows()),
        "functions": table(*HEAD, rows=_function_rows()),
        "activations": table(*HEAD, rows=_activation_rows()),
        "refused": table("what", "why", "instead", rows=_refused_rows()),
    }


def _layer_rows() -> list[list[str]]:
    rows = []
    for reader, kinds in _by(LEAVES.items(), lambda item: item[1].__name__):
        kinds = [kind for kind, _ in kinds]
        if reader == "attention":
            rows += _attention_rows(kinds)
        elif not set(kinds) & {*TWINS, *GATED}:
            rows.append([_list(kinds), _options(kinds[0]), *LAYERS[reader]])
    gated = {kind.__name__ for kind in GATED}
    for kind in _own_modules():
        facts = Facts(SAMPLED, "", "no") if kind.__name__ in gated else MODULES[kind]
        rows.append([_list([kind]), _options(kind, getattr(kind, "cell", object)), *facts])
    twins = Facts("as the layer of its twin, by `ntkflow.ntk_parameterization`", "", "no")
    return [*rows, [_list(TWINS), "those of torch", *twins]]


def _attention_rows(kinds: list[type]) -> list[list[str]]:
    """A row for each scaling, with the options in the first."""
    name, options = _list(kinds), _options(kinds[0])
    rows = [[f"{name}, `{each}`", "the same", *ATTENTION[each]] for each in SCALINGS]
    return [[rows[0][0], options, *rows[0][2:]], *rows[1:]]


def _own_modules() -> Iterable[type[nn.Module]]:
    """Classes of ntkflow that are in none of the code's tables, in NTK parameterization."""
    for name in networks.__all__:
        kind = getattr(networks, name)
        if inspect.isclass(kind) and issubclass(kind, nn.Module):
            known = kind in LEAVES or kind in ACTIVATIONS
            if not known and not issubclass(kind, nn.Linear | nn.Conv2d):
                yield kind


def _function_rows() -> list[list[str]]:
    rows = []
    for handler, items in _by(HANDLERS.items(), lambda item: item[1]):
        if not _refuses(handler):
            what = f"{_code(_public(name for name, _ in items))}: {_described(handler)}"
            rows.append([what, _parameters(handler), *FUNCTIONS[handler.__name__]])
    moves = Facts("elements move, nothing is computed", "", "`Flatten`, `Index`, `FanInConcat`")
    for names in (LOOKED_AT, COPIES):
        public = [name for name in _public(names.split()) if name != "detach"]
        rows.append([_code(public), "all", *moves])
    return rows


def _refused_rows() -> list[list[str]]:
    rows = []
    for handler, items in _by(HANDLERS.items(), lambda item: item[1]):
        if _refuses(handler):
            _, reason, hint = handler.args
            rows.append([_code(_public(name for name, _ in items)), reason, _cited(hint)])
    return rows


def _refuses(handler: Callable | None) -> bool:
    """Whether a handler is made by `refuse`."""
    return isinstance(handler, functools.partial)


def _activation_rows() -> list[list[str]]:
    rows = []
    # What somebody registered is in no namespace.
    known = [each for each in ACTIVATIONS if _qualified(each) and not _is_refused_call(each)]
    for name, activations in _by(known, _activation_name):
        given = NEEDED.get(name, ())
        how = dict.fromkeys(_dual_facts(each, given) for each in activations)
        ((way, source),) = how
        peer = PEERS.get(name, NUMERICAL)
        rows.append([_list(activations), _options_of_any(activations), way, source, peer])
    return sorted(rows, key=lambda row: (row[2], row[0].lower()))


def _is_refused_call(activation) -> bool:
    """Whether it is a function that has an entry of its own as one that is refused."""
    return _refuses(HANDLERS.get(activation.__name__)) and not inspect.isclass(activation)


def _activation_name(activation) -> str:
    name = activation.__name__.removeprefix("special_").lower().replace("_", "")
    return ALIASES.get(name, name)


def _dual_facts(activation, given: tuple) -> tuple[str, str]:
    """How an activation's dual is computed with default options, and the source."""
    if inspect.isclass(activation):
        needed = given if activation is nn.Threshold else ()
        function = activation(*needed).double().eval()
    else:
        function = lambda x: activation(x, *given)  # noqa: E731
    dual = find_dual(activation, function, activation.__name__)
    if isinstance(dual, duals.ClosedForm):
        return EXACT, MOMENTS[dual.moments]
    return DUALS[type(dual)]


def _by(items: Iterable, key: Callable) -> list[tuple]:
    """Items with the same key together, in the order of the first of each."""
    found: dict = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.items())


def _public(names: Iterable[str]) -> list[str]:
    """Names of functions without those of operators and of methods in place."""
    return [name for name in names if not name.startswith("_") and not name.endswith("_")]


def _list(things: Iterable) -> str:
    return _code(dict.fromkeys(map(_qualified, things)))


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _qualified(thing) -> str:
    """Name under which a user calls a class or function; empty for one of somebody's own."""
    spaces = {"ntkflow": networks, "nn": nn, "torch": torch, "F": nn.functional}
    spaces |= {"torch.special": torch.special, "operator": operator}
    names = (
        f"{at}.{name}"
        for at, space in spaces.items()
        for name in (thing.__name__, *dir(space))
        if name[0] != "_" and getattr(space, name, None) is thing
    )
    return next(names, "")


def _options(*kinds: type) -> str:
    """Options of classes and of those that they pass them to."""
    made = [each.__init__ for kind in kinds for each in kind.__mro__[:-1]]
    found = [name for each in made for name in _optional(inspect.signature(each))]
    return _code(dict.fromkeys(found))


def _options_of_any(activations: list) -> str:
    classes = [each for each in activations if inspect.isclass(each)]
    return _parameters(classes[0]) if classes else ""


def _parameters(called: Callable) -> str:
    return _code(_optional(inspect.signature(called)))


def _optional(signature: inspect.Signature) -> list[str]:
    """Parameters with a default that may be chosen."""
    return [
        name
        for name, each in signature.parameters.items()
        if each.default is not each.empty and name not in APART
    ]


def _described(handler: Callable) -> str:
    text = (handler.__doc__ or "").split("\n")[0].rstrip(".")
    return text[0].lower() + text[1:]


def _cited(hint: str) -> str:
    return re.sub(r"((?:ntkflow|nn)\.\w+)", r"`\1`", hint)


def rewrite(text: str) -> str:
    """The page with the tables between their marks made anew."""
    return replaced(text, tables())


def main() -> None:
    """Rewrite the page in place."""
    PAGE.write_text(rewrite(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
