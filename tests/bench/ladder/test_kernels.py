import pytest

from ablations.grid import runs
from ablations.presets import PRESETS
from bench.ladder.kernels import documented_grid, lines_by_kind, main


def test_the_grid_is_that_of_the_study() -> None:
    assert documented_grid() == runs(PRESETS["standard"])


def test_kernels_are_told_by_kind_as_parts_of_a_step() -> None:
    kernels = [
        *[("sm80_xmma_gemm_f32", 300.0)] * 4,
        *[("at::native::vectorized_elementwise_kernel<4>", 50.0)] * 6,
        ("at::native::reduce_kernel<512>", 100.0),
        ("multi_tensor_apply_kernel", 200.0),
        ("memcpy32_post", 200.0),
    ]
    assert lines_by_kind(0.002, 200, kernels, 2) == [
        "200 models: 2.00 ms a step, 100,000 model-steps/s; 6 kernels, 2.00 ms one by one",
        "matrix products            2 kernels    1.20 ms   60%",
        "operators by element       3 kernels    0.30 ms   15%",
        "Adam                       0 kernels    0.20 ms   10%",
        "copies and gathers         0 kernels    0.20 ms   10%",
        "sums                       0 kernels    0.10 ms    5%",
    ]


@pytest.mark.cuda
def test_a_step_of_the_documented_grid_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    main()
    first, *kinds = capsys.readouterr().out.splitlines()
    assert first.startswith("200 models: ")
    assert {"Adam", "matrix products"} < {line[:22].rstrip() for line in kinds}
