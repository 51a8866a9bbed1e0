"""The stages of the workflow: what each reads of a configuration, and the tables that follow.

A stage reads some sections of a cell's configuration and makes one HDF5 file per cell, or one per
block of seeds or tile of a kernel. Pure Python.
"""

from collections.abc import Set
from dataclasses import dataclass, replace

# Folders beside those of experiments, which are called like these.
FOLDERS = ("benchmarks", "downloads", "logs", "report")


@dataclass(frozen=True)
class Stage:
    """What a stage reads of a cell, what it makes, and which seeds it works through in blocks.

    Attributes:
        rule: name of the rule that makes it.
        reads: sections of a cell's configuration.
        ignores: dotted keys of these that make no difference.
        requires: sections without which the stage is not made.
        seeds: "seeds", "initializations", or None: one file per cell.
        when: moment of the measurements that it makes.
        always: whether it is made without measurements of its own too.
        unless: moments; not even then, if all measurements but those of the limit are of these.
        follows: stages whose files of the same cell, and block if they have seeds, it reads.
        tiled: whether it makes one file per tile of a kernel on and above the diagonal.
        tables: names of tables to groups of its files; None: the group that the task names.
    """

    rule: str
    reads: tuple[str, ...]
    ignores: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    seeds: str | None = None
    when: str | None = None
    always: bool = False
    unless: frozenset[str] = frozenset()
    follows: tuple[str, ...] = ("dataset",)
    tiled: bool = False
    tables: tuple[tuple[str, str | None], ...] = ()

    @property
    def divided(self) -> bool:
        """Whether a cell has several files, in a folder of the stage."""
        return self.tiled or self.seeds is not None

    def reads_key(self, key: str) -> bool:
        """Whether the dotted key belongs to this stage's configuration."""
        return key.split(".")[0] in self.reads and key not in self.ignores

    def is_asked_for(self, sections: Set[str], moments: Set[str]) -> bool:
        """Whether an experiment with these sections and moments of measurements has this stage."""
        if not set(self.requires) <= sections:
            return False
        of_networks = moments - {"limit"}  # which has none
        others_only = bool(of_networks) and of_networks <= self.unless
        return self.when in moments or (self.always and not others_only)


_NETWORKS = ("task", "network", "measurements")
_TRAINED = ("task", "network", "training", "measurements")
_AFTER_TRAINING = Stage(
    rule="extract_ntk",
    reads=_TRAINED,
    requires=("training",),
    seeds="seeds",
    follows=("dataset", "train"),
)

# What a kernel in tiles is made of; to what it is projected makes no difference.
_IN_TILES = Stage(
    rule="compute_kernel_tile",
    reads=("task", "network", "tiles"),
    ignores=("tiles.projected_rows", "tiles.nodes"),
    requires=("tiles",),
)

# In the order in which tables are listed.
STAGES = {
    "dataset": Stage(
        rule="make_dataset",
        reads=("task",),
        always=True,
        follows=(),
        tables=(("dataset", None),),
    ),
    # Checks of theory train networks of their own.
    "train": Stage(
        rule="train_ensemble",
        reads=_TRAINED,
        requires=("training",),
        seeds="seeds",
        when="training",
        always=True,
        unless=frozenset({"theory"}),
        tables=(("losses", "losses"), ("networks", "networks")),
    ),
    "initialization": Stage(
        rule="measure_initialization",
        reads=_NETWORKS,
        seeds="initializations",
        when="initialization",
    ),
    "ntk": replace(_AFTER_TRAINING, when="trained"),
    "machines": replace(_AFTER_TRAINING, rule="fit_kernel_machines", when="machines"),
    "limit": Stage(
        rule="compute_limit_kernel", reads=_NETWORKS, ignores=("network.width",), when="limit"
    ),
    "prediction": Stage(
        rule="predict_limit",
        reads=_TRAINED,
        ignores=("network.width",),
        requires=("training",),
        when="prediction",
    ),
    "theory": Stage(rule="check_theory", reads=_TRAINED, when="theory"),
    "tile": replace(_IN_TILES, always=True, tiled=True, tables=(("tiles", "tiles"),)),
    "kernel": replace(_IN_TILES, rule="assemble_kernel", always=True, follows=("tile",)),
    "assembled": replace(
        _IN_TILES,
        rule="measure_assembled_kernel",
        reads=(*_IN_TILES.reads, "measurements"),
        when="assembled",
        follows=("dataset", "tile", "kernel"),
    ),
}

# Tables computed from other tables, by the names of those.
DERIVED = {
    "learning_times": {"training_modes", "limit_circle_spectrum"},
    "evolution": {"training_gram", "training_classification"},
    "lazy_summary": {"losses", "training_linearized"},
    "rates_summary": {"training_mode_decay"},
    "kappa_summary": {"training_linearized", "trained_kappa"},
    "tile_costs": {"tiles"},
}


@dataclass(frozen=True)
class Table:
    """Where a tidy table comes from: the files of a stage and the HDF5 group in them."""

    stage: str
    group: str
