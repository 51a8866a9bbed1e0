"""Factors, preconditioners and Krylov spaces against dense algebra in float64."""

import pytest
import torch
from ridge_problems import problem, relative

from ntkflow.errors import KernelError
from ntkflow.linalg import conjugate_gradients, solving, triangles
from ntkflow.linalg.conjugate_gradients import (
    BlockConjugateGradients,
    NegativeCurvature,
    System,
)
from ntkflow.linalg.preconditioning import (
    LowRankPreconditioner,
    nystrom,
    randomly_pivoted_cholesky,
)
from ntkflow.linalg.shifted import shifted_solutions
from ntkflow.linalg.solving import add_products, stored_product
from ntkflow.linalg.triangles import SharedTriangles

RIDGE = 1e-3
EYE = torch.eye(120, dtype=torch.float64)


def identity(v):
    return v


def system(kernel, ridge=RIDGE, precondition=identity):
    exact = kernel.double()
    return System(
        lambda v: (kernel @ v.to(kernel)).double(),
        lambda v: exact @ v,
        precondition,
        ridge,
        kernel.dtype,
    )


def preconditioner(kernel, rank=40):
    factor = randomly_pivoted_cholesky(
        lambda index: kernel[index], kernel.diagonal(), rank, dtype=kernel.dtype
    )
    return LowRankPreconditioner(factor)


@pytest.mark.parametrize(("panel", "rows"), [(512, 512), (7, 11), (120, 60), (1, 120)])
def test_factor_and_matrix_share_an_array(panel, rows, monkeypatch):
    monkeypatch.setattr(triangles, "_PANEL", panel)
    monkeypatch.setattr(triangles, "_ROWS", rows)
    _, y, _, kernel, *_ = problem()
    array = kernel.clone()
    shared = SharedTriangles(array, RIDGE)
    assert shared.pivot is None
    torch.testing.assert_close(array.tril(), torch.linalg.cholesky(kernel + RIDGE * EYE))
    torch.testing.assert_close(array.triu(1), kernel.triu(1), rtol=0, atol=0)
    torch.testing.assert_close(shared.multiply(y), kernel @ y, rtol=1e-12, atol=1e-12)
    expected = torch.linalg.solve(kernel + RIDGE * EYE, y)
    assert relative(shared.solve(y), expected) < 1e-9
    assert shared.restore() is array
    torch.testing.assert_close(array, kernel, rtol=0, atol=0)


@pytest.mark.parametrize("panel", [512, 50])
def test_a_pivot_that_is_not_positive_is_named_and_the_matrix_survives(panel, monkeypatch):
    monkeypatch.setattr(triangles, "_PANEL", panel)
    _, _, _, kernel, *_ = problem()
    kernel = kernel.clone()
    kernel[77, 77] = -1.0
    shared = SharedTriangles(kernel.clone(), 0.0)
    assert shared.pivot == 77
    torch.testing.assert_close(shared.restore(), kernel, rtol=0, atol=0)


def test_randomly_pivoted_cholesky_is_a_nystrom_approximation():
    _, _, _, kernel, *_ = problem()
    factor = randomly_pivoted_cholesky(lambda index: kernel[index], kernel.diagonal(), 30)
    approximation = factor.T @ factor
    exact = (kernel - approximation).diagonal() < 1e-12
    assert exact.sum() == len(factor) == 30
    pivots = exact.nonzero().flatten()
    expected = kernel[:, pivots] @ torch.linalg.solve(kernel[pivots][:, pivots], kernel[pivots])
    torch.testing.assert_close(approximation, expected, rtol=1e-8, atol=1e-8)
    ideal = torch.linalg.eigvalsh(kernel)[:-30].sum()
    assert (kernel - approximation).trace() < 4 * ideal


def test_pivots_stop_at_the_rank_of_the_kernel():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(120, 5, generator=generator, dtype=torch.float64)
    kernel = root @ root.T
    factor = randomly_pivoted_cholesky(lambda index: kernel[index], kernel.diagonal(), 30)
    assert len(factor) == 5
    torch.testing.assert_close(factor.T @ factor, kernel)
    assert len(LowRankPreconditioner(factor.clone()).values) == 5


def test_pivots_follow_the_distribution_of_one_at_a_time():
    """The second pivot of diag(1, 1, 2, 4) after the first one has its share of what is left."""
    kernel = torch.diag(torch.tensor([1.0, 1.0, 2.0, 4.0], dtype=torch.float64))
    counts = torch.zeros(4)
    for seed in range(400):
        factor = randomly_pivoted_cholesky(
            lambda index: kernel[index], kernel.diagonal(), 2, seed=seed
        )
        counts[(factor != 0).any(0)] += 1
    weights = kernel.diagonal()
    share = weights / weights.sum()
    expected = share + torch.stack(
        [sum(share[j] * share[i] / (1 - share[j]) for j in range(4) if j != i) for i in range(4)]
    )
    assert (counts / 400 - expected).abs().max() < 0.08  # three standard deviations


def test_pivots_stop_where_a_kernel_is_indefinite():
    kernel = torch.eye(3, dtype=torch.float64)
    kernel[0, 1] = kernel[1, 0] = 2.0
    for seed in range(5):
        options = dict(rank=3, seed=seed)
        factor = randomly_pivoted_cholesky(lambda i: kernel[i], kernel.diagonal(), **options)
        assert factor.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("ridge", [0.0, RIDGE, 1.0])
def test_preconditioner_is_its_formula(dtype, ridge):
    _, y, _, kernel, *_ = problem(dtype=dtype)
    factor = randomly_pivoted_cholesky(
        lambda index: kernel[index], kernel.diagonal(), 40, dtype=dtype
    )
    exact = factor.double()
    values, vectors = torch.linalg.eigh(exact.T @ exact)
    values, vectors = values[-40:], vectors[:, -40:]
    inverse = vectors @ torch.diag((values[0] + ridge) / (values + ridge)) @ vectors.T
    inverse += EYE - vectors @ vectors.T
    found = LowRankPreconditioner(factor).apply(y, ridge)
    assert relative(found, inverse @ y) < (1e-5 if dtype == torch.float32 else 1e-9)


def test_nystrom_factor_from_products_alone():
    _, _, _, kernel, *_ = problem()
    options = dict(device=torch.device("cpu"))
    factor = nystrom(lambda v: kernel @ v, 120, 40, **options)
    tail = torch.linalg.eigvalsh(kernel)[:-40].sum()
    assert (kernel - factor.T @ factor).trace() < 4 * tail
    part = nystrom(lambda v: kernel @ v - 50.0 * v, 120, 40, **options)
    assert 0 < len(part) < 40


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [0, 40])
def test_gradients_reach_the_true_residual_they_say(dtype, rank):
    _, y, _, kernel, *_ = problem(dtype=dtype)
    inverse = preconditioner(kernel, rank) if rank else None
    apply = identity if inverse is None else lambda v: inverse.apply(v, RIDGE)
    solver = BlockConjugateGradients(system(kernel, RIDGE, apply), y)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-10
    solver.solve(tolerance)
    exact = kernel.double() + RIDGE * EYE
    left = (y - exact @ solver.solution).norm(dim=0) / y.norm(dim=0)
    assert left.max().item() == pytest.approx(solver.residual, rel=1e-6, abs=1e-14)
    assert solver.residual <= tolerance
    assert relative(solver.solution, torch.linalg.solve(exact, y)) < 1e3 * tolerance


def test_a_preconditioner_saves_steps():
    _, y, _, kernel, *_ = problem()
    steps = []
    for apply in (identity, lambda v: preconditioner(kernel, 80).apply(v, RIDGE)):
        solver = BlockConjugateGradients(system(kernel, RIDGE, apply), y)
        solver.solve(1e-8)
        steps.append(solver.steps)
    assert steps[1] < 0.5 * steps[0]


def test_dependent_converged_and_zero_right_hand_sides():
    _, y, _, kernel, *_ = problem()
    exact = kernel + RIDGE * EYE
    easy = exact @ EYE[:, :1]
    rhs = torch.cat([y, y.sum(1, keepdim=True), 1e-9 * y[:, :1], 0 * y[:, :1], easy], 1)
    solver = BlockConjugateGradients(system(kernel), rhs)
    solver.solve(1e-9)
    expected = torch.linalg.solve(exact, rhs)
    assert ((rhs - exact @ solver.solution).norm(dim=0) <= 1e-9 * rhs.norm(dim=0)).all()
    assert relative(solver.solution[:, :5], expected[:, :5]) < 1e-5
    assert not solver.solution[:, 5].any()


def test_all_right_hand_sides_zero_take_no_step():
    _, y, _, kernel, *_ = problem()
    solver = BlockConjugateGradients(system(kernel), 0 * y)
    solver.solve(1e-9)
    assert solver.steps == 0
    assert not solver.solution.any()


def test_what_a_type_cannot_reach_is_refused():
    _, y, _, kernel, *_ = problem(dtype=torch.float32)
    solver = BlockConjugateGradients(system(kernel, 0.0), y)
    with pytest.raises(KernelError, match="falls no more"):
        solver.solve(1e-15)


def test_too_many_steps_are_refused(monkeypatch):
    monkeypatch.setattr(conjugate_gradients, "_LEAST_STEPS", 3)
    monkeypatch.setattr(conjugate_gradients, "_STEPS_PER_ROW", 0)
    _, y, _, kernel, *_ = problem()
    with pytest.raises(KernelError, match="after 4 steps"):
        BlockConjugateGradients(system(kernel), y).solve(1e-9)


def test_negative_curvature_is_met_and_measured():
    _, y, _, kernel, *_ = problem()
    shifted = kernel - 0.5 * EYE
    lowest = torch.linalg.eigvalsh(shifted)[0].item()
    with pytest.raises(NegativeCurvature) as caught:
        BlockConjugateGradients(system(shifted, 0.1), y).solve(1e-9)
    assert lowest <= caught.value.value <= -0.1


@pytest.mark.parametrize("preconditioned", [False, True])
def test_one_space_serves_all_shifts(preconditioned):
    _, y, _, kernel, *_ = problem()
    products = []

    def multiply(v):
        products.append(v.shape[1])
        return kernel @ v

    shifts = [1e-3, 1e-1, 10.0]
    inverse = preconditioner(kernel) if preconditioned else None
    found = shifted_solutions(multiply, inverse, y, shifts, tolerance=1e-9)
    for each, shift in zip(found, shifts, strict=True):
        exact = kernel + shift * EYE
        assert ((y - exact @ each).norm(dim=0) / y.norm(dim=0)).max() < 1.1e-9
        assert relative(each, torch.linalg.solve(exact, y)) < 1e-5
    assert sum(products) <= len(kernel) + 3
    with pytest.raises(KernelError, match=r"ridge 0.001 .* in a space of 6 vectors"):
        shifted_solutions(multiply, inverse, y, shifts, tolerance=1e-9, most=6)


@pytest.mark.parametrize("of_tile", [torch.float32, torch.float64])
@pytest.mark.parametrize("of_vectors", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (700, 1030), (514, 9)], ids=str)
def test_compiled_loops_multiply_like_plain_products(shape, of_vectors, of_tile, monkeypatch):
    monkeypatch.setattr(solving, "_WORTH_THREADS", 1)
    g = torch.Generator().manual_seed(0)
    rows, columns, size = *shape, 2000
    whole = torch.randn(size, size, generator=g).to(of_tile)
    i, j = slice(7, 7 + rows), slice(900, 900 + columns)
    v = torch.randn(3, size, generator=g).to(of_vectors)
    part = whole[i, j].double()
    below, along = v[:, i].double() @ part, v[:, j].double() @ part.T
    rounding = 1e-5 if of_vectors == torch.float32 else 1e-12
    for tile in (whole[i, j], whole[i, j].clone(), whole.T.contiguous().T[i, j]):
        found = torch.zeros(3, size, dtype=torch.float64)
        add_products(found, v, tile, i, j)
        expected = torch.zeros_like(found)
        expected[:, j] += below
        expected[:, i] += along
        torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding * size**0.5)
    square = slice(900, 900 + rows)
    found = torch.zeros(3, size, dtype=torch.float64)
    add_products(found, v, whole[square, square], square, square)
    expected = torch.zeros_like(found)
    expected[:, square] = v[:, square].double() @ whole[square, square].double()
    torch.testing.assert_close(found, expected, rtol=rounding, atol=rounding * size**0.5)


@pytest.mark.parametrize("vectors", [9, 40], ids=["skinny", "wide"])
def test_products_with_a_stored_matrix_do_not_depend_on_threads(monkeypatch, vectors):
    monkeypatch.setattr(solving, "_WORTH_THREADS", 1)
    _, _, _, kernel, *_ = problem(n=700, dtype=torch.float32)
    v = torch.randn(vectors, 700, generator=torch.Generator().manual_seed(0))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(stored_product(lambda i, j: kernel[i, j], v, 96))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert relative(found[0], v.double() @ kernel.double()) < 1e-6
    if vectors == 9:
        assert torch.equal(found[0], found[1])
        assert torch.equal(found[0], found[2])
