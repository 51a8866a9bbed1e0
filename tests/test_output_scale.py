import pytest
import torch

from ntkflow.networks.output_scale import scale_output

H = torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64)
H0 = torch.tensor([[0.5, 1.0], [-1.0, 0.25]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("initial", "expected"),
    [(None, [[4.0, -8.0], [2.0, 12.0]]), (H0, [[2.0, -12.0], [6.0, 11.0]])],
)
def test_by_hand(initial, expected):
    assert scale_output(H, 4, initial).tolist() == expected
    out = H.clone()
    assert scale_output(out, 4, initial, out=out) is out
    assert out.tolist() == expected
