"""Colours of the figures, one for each quantity across the report."""

# Okabe and Ito's palette without black and yellow: told apart by colour-blind readers, and visible
# on white and on dark backgrounds.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
BLUE, VERMILLION, GREEN, PINK, ORANGE, SKY = COLOURS
LIMIT_COLOUR = "#7f7f7f"
INK = "#1a2b3c"  # text and axes; the report replaces it by the page's own text colour

# What figures show has the same colour in all of them; no two in the same axes share theirs. Lines
# that are values of an axis, such as widths or activations, have colours of `SCALES` or `COLOURS`,
# whatever they are lines of.
QUANTITIES = {
    # Whose it is.
    "network": BLUE,
    "linearized": SKY,
    "limit": LIMIT_COLOUR,  # infinite width
    "target": INK,
    "published": INK,
    # On which images.
    "train": BLUE,
    "test": VERMILLION,
    # When it is measured.
    "start": BLUE,
    "trained": VERMILLION,
    # Spectra.
    "lambda_max": VERMILLION,
    "trace": SKY,
    "share": PINK,  # of the trace in lambda_max
    "rank": SKY,  # effective rank
    "alignment": GREEN,  # with the targets
    # What training changes.
    "drift": PINK,  # of the kernel
    "movement": GREEN,  # of the weights
    "steps": ORANGE,  # to a loss
    # How far a function lies from another.
    "to_ridge": BLUE,
    "to_limit": VERMILLION,
    "to_linearized": ORANGE,
    # Kernel machines.
    "ridge": GREEN,
    "random": VERMILLION,
    "zero": ORANGE,
    # Ways to a kernel, and to its eigenvalues.
    "loop": BLUE,
    "vmap": VERMILLION,
    "layerwise": GREEN,
    "matrix": BLUE,
    "products": VERMILLION,
    "gradient": ORANGE,  # of a loss, beside them
}

# Maps of ordered axes, and the part of each that is neither too dark for a dark page nor too light
# for a white one: strengths of penalties and scales of outputs, and all others, such as widths.
SCALES = {"strength": ("plasma", 0.2, 0.9), "size": ("viridis", 0.2, 0.85)}
MOST = 8  # values of an ordered axis whose colours can be told apart
