"""How a block kernel couples the outputs of a network."""

from jaxtyping import Float
from torch import Tensor

from ..checks import check_shape


def output_coupling(block: Float[Tensor, "o o n1 n2"]) -> Float[Tensor, ""]:
    """Frobenius norm of the blocks of different outputs over that of equal ones.

    sqrt(sum_{o != o'} |Theta_oo'|^2 / sum_o |Theta_oo|^2); 0 where outputs learn independently, as
    at infinite width, where one (N, N) kernel describes all of them. NaN where the kernel is 0.

    Args:
        block: block kernel Theta, in any units.

    Raises:
        KernelError: if it has not four axes, the first two of one size.

    Examples:
        >>> block = torch.tensor([[2.0, 1.0], [1.0, 2.0]]).reshape(2, 2, 1, 1)
        >>> ntkflow.output_coupling(block).item()
        0.5
    """
    check_shape("block", block, len(block), len(block), None, None)
    sizes = block.flatten(2).norm(dim=2)
    equal = sizes.diagonal()
    return (sizes - equal.diag()).norm() / equal.norm()
