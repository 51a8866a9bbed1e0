import numpy as np
import pytest
from ntkstudy.measurements.modes import spectrum_arrays


def test_leading_eigenvalues_are_divided_by_the_number_of_inputs():
    arrays = spectrum_arrays(np.diag([1.0, 8.0, 2.0, 4.0]), 3)
    assert arrays["spectrum/rank"].values.tolist() == [1, 2, 3]
    assert arrays["spectrum/eigenvalue"].values == pytest.approx([2.0, 1.0, 0.5])
    assert len(spectrum_arrays(np.eye(2), 10)["spectrum/eigenvalue"].values) == 2


def test_diverged_network_has_no_eigenvalues():
    assert np.isnan(spectrum_arrays(np.full((2, 2), np.nan), 2)["spectrum/eigenvalue"].values).all()
