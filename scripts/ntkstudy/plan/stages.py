"""The stages of the workflow: what each reads of a configuration, and the tables that follow.

A stage reads some sections of a cell's configuration and makes one HDF5 file per cell, or one per
block of seeds. Pure Python.
"""

from dataclasses import dataclass

# Folders beside those of experiments, which are called like these.
FOLDERS = ("benchmarks", "downloads", "logs", "report")


@dataclass(frozen=True)
class Stage:
    """What a stage reads of a cell, and which of its seeds it works through in blocks."""

    reads: tuple[str, ...]
    ignores: tuple[str, ...] = ()
    seeds: str | None = None  # "seeds", "initializations", or None: one file per cell
    when: str | None = None  # measurements that this stage makes

    def reads_key(self, key: str) -> bool:
        """Whether the dotted key belongs to this stage's configuration."""
        return key.split(".")[0] in self.reads and key not in self.ignores


STAGES = {
    "dataset": Stage(reads=("task",)),
    "limit": Stage(
        reads=("task", "network", "measurements"), ignores=("network.width",), when="limit"
    ),
    "initialization": Stage(
        reads=("task", "network", "measurements"), seeds="initializations", when="initialization"
    ),
    "prediction": Stage(
        reads=("task", "network", "training", "measurements"),
        ignores=("network.width",),
        when="prediction",
    ),
    "train": Stage(
        reads=("task", "network", "training", "measurements"), seeds="seeds", when="training"
    ),
    "ntk": Stage(
        reads=("task", "network", "training", "measurements"), seeds="seeds", when="trained"
    ),
    "machines": Stage(
        reads=("task", "network", "training", "measurements"), seeds="seeds", when="machines"
    ),
    "theory": Stage(reads=("task", "network", "training", "measurements"), when="theory"),
}

# Keys of training to what they must be for a measurement when: prediction.
PREDICTABLE = {"loss": "mse", "optimizer": "sgd", "l1": 0.0, "l2": 0.0}

# Keys of networks that are one function in training and in evaluation to their values there, and
# the measurements that other networks allow, of the function in evaluation.
ONE_MODE = {"normalization": "none", "dropout": 0.0}
EVALUATED = ("gram", "gram_spectrum", "gram_rank", "classification")

# Tables computed from other tables, by the names of those.
DERIVED = {
    "learning_times": {"training_modes", "limit_circle_spectrum"},
    "evolution": {"training_gram", "training_classification"},
    "lazy_summary": {"losses", "training_linearized"},
    "rates_summary": {"training_mode_decay"},
    "kappa_summary": {"training_linearized", "trained_kappa"},
}


@dataclass(frozen=True)
class Table:
    """Where a tidy table comes from: the files of a stage and the HDF5 group in them."""

    stage: str
    group: str
