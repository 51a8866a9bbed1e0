import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ntkflow import gaussian_process, ridge_regression
from ntkflow.errors import ConfigurationError, KernelError


def problem(m=6, n=4, outputs=(), dtype=torch.float64):
    generator = torch.Generator().manual_seed(m + 10 * n)
    features = torch.randn(m + n, m + n + 3, generator=generator, dtype=dtype)
    gram = features @ features.T
    gram = (gram + gram.T) / 2  # a product need not be symmetric in its last digit
    targets = torch.randn(m, *outputs, generator=generator, dtype=dtype)
    return gram[:m, :m], gram[m:, :m], gram[m:, m:], targets


@given(
    m=st.integers(1, 5),
    n=st.integers(1, 4),
    outputs=st.sampled_from([(), (1,), (3,)]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    ridge=st.sampled_from([0.0, 0.3]),
)
def test_ridge_regression_against_the_inverse(m, n, outputs, dtype, ridge):
    gram, cross, _, targets = problem(m, n, outputs, dtype)
    inverse = torch.linalg.inv(gram.double() + ridge * torch.eye(m, dtype=torch.float64))
    expected = cross.double() @ (inverse @ targets.double().reshape(m, -1))
    prediction = ridge_regression(gram, cross, targets, ridge=ridge)
    assert prediction.dtype == torch.float64
    torch.testing.assert_close(prediction, expected.reshape(n, *outputs), rtol=1e-10, atol=1e-10)


def test_ridge_is_absolute():
    gram, cross, _, targets = problem()
    scaled = ridge_regression(7 * gram, 7 * cross, targets, ridge=7 * 0.2)
    torch.testing.assert_close(scaled, ridge_regression(gram, cross, targets, ridge=0.2))


def test_gaussian_process_against_conditioning():
    gram, cross, test, targets = problem(outputs=(2,))
    inverse = torch.linalg.inv(gram + 0.1 * torch.eye(6, dtype=torch.float64))
    mean, covariance = gaussian_process(gram, cross, test, targets, ridge=0.1)
    torch.testing.assert_close(mean, cross @ inverse @ targets, rtol=1e-10, atol=1e-12)
    expected = test - cross @ inverse @ cross.T
    torch.testing.assert_close(covariance, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["duplicated input", "indefinite"])
def test_singular_kernels_name_the_eigenvalue_and_the_cure(kind):
    gram, cross, _, targets = problem()
    gram = gram.clone()
    if kind == "duplicated input":
        gram[1], gram[:, 1] = gram[0].clone(), gram[:, 0].clone()
        gram[1, 1] = gram[0, 0]
    else:
        gram -= 5 * torch.eye(6)
    smallest = torch.linalg.eigvalsh(gram)[0].item()
    with pytest.raises(KernelError, match=r"smallest eigenvalue .* add a ridge") as error:
        ridge_regression(gram, cross, targets)
    if kind == "indefinite":
        assert f"{smallest:.3g}" in str(error.value)
    assert ridge_regression(gram, cross, targets, ridge=1 - smallest).isfinite().all()


def test_bad_arguments():
    gram, cross, _, targets = problem()
    with pytest.raises(ConfigurationError, match="ridge: -1"):
        ridge_regression(gram, cross, targets, ridge=-1.0)
    with pytest.raises(KernelError, match=r"\(i, j\) and \(j, i\) differ"):
        ridge_regression(gram.triu(), cross, targets)
    with pytest.raises(KernelError, match="not finite"):
        ridge_regression(gram * torch.nan, cross, targets)


def test_a_kernel_is_a_square_matrix(unchecked_types):
    gram, cross, _, targets = problem()
    with pytest.raises(KernelError, match=r"^kernel: shape \(1, .* use a square matrix"):
        ridge_regression(gram[None], cross, targets)


def test_meta_device():
    gram, cross, test, targets = (each.to("meta") for each in problem(outputs=(2,)))
    mean, covariance = gaussian_process(gram, cross, test, targets)
    assert mean.is_meta
    assert covariance.shape == (4, 4)
    assert ridge_regression(gram, cross, targets).shape == (4, 2)


@pytest.mark.usefixtures("unchecked_types")
@pytest.mark.parametrize(
    ("name", "change", "allowed"),
    [
        ("targets", torch.ones(5), r"\(6, \.\.\.\)"),
        ("cross_gram", torch.ones(6, 4), r"\(any, 6\)"),
        ("test_gram", torch.ones(4), r"\(4, 4\)"),
    ],
)
def test_arrays_that_do_not_fit_the_kernel_are_named(name, change, allowed):
    names = ["gram", "cross_gram", "test_gram", "targets"]
    arguments = dict(zip(names, problem(), strict=True)) | {name: change}
    shape = rf"\({', '.join(map(str, change.shape))},?\)"
    message = f"{name}: shape {shape} is not allowed; use {allowed}"
    with pytest.raises(KernelError, match=message):
        gaussian_process(**arguments)
    if name != "test_gram":
        del arguments["test_gram"]
        with pytest.raises(KernelError, match=message):
            ridge_regression(**arguments)
