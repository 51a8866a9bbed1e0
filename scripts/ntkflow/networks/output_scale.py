"""The scaled and centred model f = alpha (h - h_0) of a network h."""

import torch
from torch import Tensor


def scale_output(
    h: Tensor,
    output_scale: float | int,
    initial: Tensor | None = None,
    *,
    out: Tensor | None = None,
) -> Tensor:
    """Outputs f = alpha h of a scaled model, or f = alpha (h - h_0) of a centred one.

    Source: Chizat, Bach 2018 (arXiv:1812.07956), sections 1 and 2.

    Args:
        h: outputs of the network, of any shape.
        output_scale: alpha.
        initial: h_0, outputs of the initial network at the same inputs; None: not centred.
        out: where to write f; may be h.
    """
    moved = h if initial is None else torch.sub(h, initial, out=out)
    return torch.mul(moved, output_scale, out=out)
