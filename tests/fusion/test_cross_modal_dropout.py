"""The dropout of cross-modal fusion: its share, its mean, and nothing in prediction."""

import pytest
import torch

from postsense.fusion.cross_modal import _Dropout


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropout_takes_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(301, 333, requires_grad=True)

    dropped = _Dropout(share)(values)
    dropped.sum().backward()

    assert abs((dropped == 0).float().mean() - share) < 0.01
    kept = dropped[dropped != 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - share)), atol=1e-4, rtol=0)
    assert values.grad is not None and torch.equal(values.grad, dropped.detach())
    assert all(
        abs(float((dropped.view(-1)[i::4] == 0).float().mean()) - share) < 0.01 for i in range(4)
    )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_dropout_of_nothing_or_everything(share: float) -> None:
    values = torch.randn(3, 5)
    assert torch.equal(_Dropout(share)(values), values * (1 - share))
    assert torch.equal(_Dropout(0.5).eval()(values), values)
