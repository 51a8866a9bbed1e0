"""What `gpu_check.py` runs on an accelerator: checks of the library, and times against peers.

The machine may lack what the library needs beside torch, numpy and scipy. Importing this package
therefore puts a stand-in in the place of a missing jaxtyping, before ntkflow is imported.
"""

import sys
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))


class _Shape:
    """What `Float[Tensor, "n m"]` subscripts: any value is allowed."""

    def __class_getitem__(cls, item: object) -> object:
        return Any


def stand_in() -> types.ModuleType:
    """A jaxtyping that annotates shapes and checks none."""
    module = types.ModuleType("jaxtyping", "Stand-in: annotations of shapes, unchecked.")
    module.Float = module.Int = module.Shaped = _Shape
    module.config = types.SimpleNamespace(jaxtyping_disable=True, update=lambda name, value: None)
    return module


try:
    import jaxtyping  # noqa: F401
except ImportError:
    sys.modules["jaxtyping"] = stand_in()
