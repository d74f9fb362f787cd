"""Links tried on samples of gradients: their errors are those of their twins, and each kind keeps its law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

import thinwire as tw
from tests.reference import gradients as reference
from thinwire.probing.sample import BLOCK, FEWEST_ROWS, LEAST, SHORT, Sample
from thinwire.probing.trials import CANDIDATES, Asked, Trials
from thinwire.training.policy import SMALL

N, D = 4, 64 * 64
FLOAT = 1e-5
"""float32's epsilon, 6e-8, times the few dozen sums and steps behind a figure."""


def sample_of(d: int = D) -> Sample:
    return Sample.of({"w": (64, d // 64)}, d)


def normal(steps: int, *, seed: int = 0, d: int = D) -> torch.Tensor:
    return torch.randn(steps, N, d, generator=torch.Generator().manual_seed(seed))


def tried(asked: Asked, steps: torch.Tensor) -> tuple[float, float]:
    trials = Trials(sample_of(steps.shape[2]), N, [asked])
    for gradients in steps:
        trials.add(gradients)
    (found,) = trials.found()
    return found.error, found.drift


def codes(text: str, x: np.ndarray, step: int, d: int = D) -> np.ndarray:  # type: ignore[type-arg]
    compressor = tw.parse_compressor(text).bind(N)
    said = compressor.decode(compressor.encode(torch.from_numpy(x).float(), tw.Key(0, step, 0, range(N))))
    made: np.ndarray = said.double().numpy()  # type: ignore[type-arg]
    return made


def test_a_sample_is_whole_where_it_can_be_and_an_equal_share_elsewhere() -> None:
    shapes = {"embed": (50257, 768), "conv": (64, 32, 3, 3), "bias": (3072,), "scale": (), "wide": (3, 1 << 20)}
    sample = Sample.of(shapes, 60_000)
    by_name = {piece.name: piece for piece in sample.pieces}
    assert list(by_name) == list(shapes)
    assert by_name["conv"].whole
    assert by_name["conv"].taken_shape == (64, 32, 3, 3)
    assert by_name["bias"].size == SHORT
    assert by_name["scale"].size == 1
    for name in ("embed", "wide"):
        piece = by_name[name]
        assert piece.size >= LEAST
        assert piece.rows >= min(FEWEST_ROWS, shapes[name][0])
        assert piece.columns % BLOCK == 0
    assert sample.total(np.array([piece.size for piece in sample.pieces])) == pytest.approx(
        sum(math.prod(shape) for shape in shapes.values())
    )


def test_pieces_are_cut_from_where_they_say() -> None:
    sample = Sample.of({"w": (4096, 1024), "b": (512,)}, LEAST)
    w, b = sample.pieces
    gradient = torch.arange(4096 * 1024.0).view(4096, 1024)
    taken = w.take(gradient).view(w.rows, w.columns)
    assert bool((taken[:, 1:] - taken[:, :-1] == 1).all())
    assert bool((taken[1:, 0] - taken[:-1, 0] == 4096 // w.rows * 1024).all())
    assert bool((b.take(torch.arange(512.0)) == torch.arange(0, 512, 2.0)).all())


def test_what_is_compressed_in_training_is_so_in_its_sample() -> None:
    shapes = {f"{a}x{b}": (a, b) for a in (1, 2, 3, 5, 15, 17, 300) for b in (1, 7, 100, 1023, 5000)}
    for piece in Sample.of(shapes, 1).pieces:
        assert (piece.size >= SMALL) == (math.prod(piece.shape) >= SMALL), piece


@pytest.mark.parametrize("momentum", [None, 0.9])
@pytest.mark.parametrize("text", ["rotated(bits=1)", "dither(bits=4)", "randk(0.25)"])
def test_a_plain_link_errs_as_its_compressor(text: str, momentum: float | None) -> None:
    steps = normal(4)
    g = steps.double().numpy()
    v = g if momentum is None else reference.averages(g, momentum)
    estimates = np.array([codes(text, now, step).mean(0) for step, now in enumerate(v)])
    found = tried(Asked(f"dcgd({text})", momentum), steps)
    assert found == pytest.approx(reference.error_and_drift(g, v, estimates), rel=FLOAT)


def test_error_feedback_is_that_of_its_twin() -> None:
    steps = normal(6)
    g = steps.double().numpy()
    estimates = reference.feedback(g, lambda x, step: codes("topk(0.1)", x, step))
    assert tried(Asked("ef14(topk(0.1))"), steps) == pytest.approx(
        reference.error_and_drift(g, g, estimates), rel=FLOAT
    )


def test_drift_tells_errors_that_are_paid_back_from_those_that_are_not() -> None:
    """Of the same gradient in every step, sent by error feedback, with fresh errors, and with the same error always."""
    few, many = 8, 32
    steps = normal(1).expand(many, N, D)

    def growth(text: str) -> float:
        return tried(Asked(text), steps)[1] / tried(Asked(text), steps[:few])[1]

    # ‖e_T‖² stays below a bound: Σ (v̂ − v) = −mean e_T, against T ‖ḡ‖². At step 8 of topk(0.3) e is near the bound
    assert growth("ef14(topk(0.3))") == pytest.approx(few / many, rel=0.5)
    # errors of 4096 coordinates, independent in each step: a ratio of two χ², σ < 2 √(2 / 4096) = 4.4 %; 5 σ
    assert growth("dcgd(rotated(bits=1))") == pytest.approx(1, rel=0.22)
    # what is beyond rank 1 of a fixed matrix, the same whenever the directions have settled
    assert growth("lowrank(1, memory=False)") == pytest.approx(many / few, rel=0.05)


def test_a_shift_learns_a_gradient_that_stays() -> None:
    gradients = normal(1)
    early = tried(Asked("diana(rotated(bits=1))"), gradients.expand(2, N, D))[0]
    late = tried(Asked("diana(rotated(bits=1))"), gradients.expand(40, N, D))[0]
    assert late < early / 10  # nearly all of the error was made in the first two steps of 40


def test_steps_of_warm_up_are_sent_whole_and_do_not_count() -> None:
    steps, text, beta = normal(6), "rotated(bits=1)", 0.9
    trials = Trials(sample_of(), N, [Asked(f"diana({text})", beta)], warmup=3)
    for gradients in steps:
        trials.add(gradients)
    g = steps.double().numpy()
    v, lam = reference.averages(g, beta), tw.diana(tw.parse_compressor(text)).recursion(D, N).lam
    h, estimates = v[2].copy(), []
    for step, now in enumerate(v[3:], 3):
        m = codes(text, now - h, step)
        estimates.append((h + m).mean(0))
        h += lam * m
    found = trials.found()[0]
    expected = reference.error_and_drift(g[3:], v[3:], np.array(estimates))
    assert (found.error, found.drift) == pytest.approx(expected, rel=1e-4)  # codes of differences that are rounded


def test_pieces_count_as_often_as_their_parameters_have_values() -> None:
    """A matrix of which all rows are alike has the same error, whether all of it is looked at or a sixteenth."""
    row, shape = normal(3, d=512), (1024, 512)
    whole, part = (Sample.of({"w": shape, "b": (8,)}, values) for values in (1024 * 512 + 8, 64 * 512 + 8))
    assert part.pieces[0].rows * 16 == whole.pieces[0].rows
    errors = []
    for sample in (whole, part):
        trials = Trials(sample, N, [Asked("dcgd(dither(bits=4))")])
        for step in row:
            w = step[:, None, : sample.pieces[0].columns].expand(N, sample.pieces[0].rows, sample.pieces[0].columns)
            trials.add(torch.cat([w.reshape(N, -1), torch.ones(N, 8)], dim=1))
        errors.append(trials.found()[0].error)
    assert errors[0] == pytest.approx(errors[1], rel=0.05)


def test_what_is_sent_as_it_is_has_no_error() -> None:
    trials = Trials(Sample.of({"b": (300,), "c": (30, 10)}, 1), N)
    trials.add(torch.randn(N, trials.sample.size))
    assert all(found.error < 1e-12 for found in trials.found())


def test_every_candidate_of_the_list_is_tried() -> None:
    trials = Trials(sample_of(), N)
    for gradients in normal(3):
        trials.add(gradients)
    found = trials.found()
    assert [(one.link, one.momentum) for one in found] == [
        (tw.to_text(asked.link), asked.momentum) for asked in CANDIDATES
    ]
    assert all(math.isfinite(one.error) and one.error > 0 and one.drift > 0 for one in found)


def test_steps_that_are_not_finite_count_for_nobody() -> None:
    steps = normal(3)
    bad = steps[1].clone()
    bad[2, 7] = float("nan")
    for asked in CANDIDATES:
        assert tried(asked, torch.stack([steps[0], bad, steps[1]])) == tried(asked, steps[:2])
    with pytest.raises(ValueError, match=r"after 0 of warm-up was finite; got 0\. Train for longer first"):
        tried(CANDIDATES[0], bad[None])


def test_a_code_that_overflows_is_infinitely_bad() -> None:
    assert tried(Asked("dcgd(float16())"), 1e6 * normal(2)) == (math.inf, math.inf)


def test_a_parameter_without_a_gradient_has_no_error_of_its_own() -> None:
    """Blocks of a code go across parameters: what has no gradient gets a part of its neighbour's error."""
    trials = Trials(Sample.of({"idle": (50, 63), "busy": (64, 65)}, 1 << 14), N, [Asked("dcgd(rotated(3))")])
    gradients = torch.randn(N, trials.sample.size)
    gradients[:, trials.sample.parts["idle"]] = 0
    trials.add(gradients)
    (found,) = trials.found()
    assert list(found.layers) == ["busy"]
    assert math.isfinite(found.error)


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="momentum must be 0 to 1"):
        Asked("dcgd(rotated(1))", 1.5)
    with pytest.raises(ValueError, match="ef21 needs a contractive compressor"):
        Asked("ef21(randk(0.01))")
    with pytest.raises(ValueError, match=r"each of 4 workers has a sample of 4096 values; got \(3, 4096\)"):
        Trials(sample_of(), N).add(torch.zeros(3, D))
    with pytest.raises(ValueError, match="parameters have values"):
        Sample.of({"w": (0, 3)}, 10)
