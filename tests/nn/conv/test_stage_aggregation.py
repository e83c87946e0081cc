import pytest
import torch
import torch.nn.functional as F

from cl_as_gnn.nn import StageAggregation


def test_each_stage_is_normalized_before_it_is_mixed():
    now, past = torch.randn(4, 3), 100 * torch.randn(4, 3)
    out = StageAggregation((3.0, 1.0))(torch.stack([now, past]))
    torch.testing.assert_close(out, 0.75 * F.normalize(now, dim=1) + 0.25 * F.normalize(past, dim=1))


def test_unseen_stages_leave_their_share_to_the_rest():
    stages = torch.randn(3, 2, 4)
    seen = torch.tensor([[True, True], [False, True], [False, False]])
    out = StageAggregation((0.5, 0.3, 0.2))(stages, seen)
    torch.testing.assert_close(out[0], F.normalize(stages[0, 0], dim=0))
    mixed = (0.5 * F.normalize(stages[0, 1], dim=0) + 0.3 * F.normalize(stages[1, 1], dim=0)) / 0.8
    torch.testing.assert_close(out[1], mixed)


def test_repr_and_errors():
    assert repr(StageAggregation()) == "StageAggregation(weights=[0.5, 0.5])"
    with pytest.raises(ValueError, match="not all zero"):
        StageAggregation((0.0, 0.0))
    with pytest.raises(ValueError, match="stages for its 2 weights, got"):
        StageAggregation()(torch.randn(3, 2, 4))


def test_learned_shares_start_at_the_weights_and_are_trained():
    stages, seen = torch.randn(2, 4, 3), torch.tensor([[True] * 4, [True, True, True, False]])
    layer = StageAggregation((3.0, 1.0), mode="learned")
    torch.testing.assert_close(layer(stages, seen), StageAggregation((3.0, 1.0))(stages, seen))
    layer(stages, seen)[:, 0].sum().backward()
    assert layer.logits.grad.abs().sum() > 0
    with torch.no_grad():
        layer.logits.copy_(torch.tensor([0.0, 2.0]))
    unit, share = F.normalize(stages, dim=-1), torch.tensor([0.0, 2.0]).softmax(0)
    torch.testing.assert_close(layer(stages), share[0] * unit[0] + share[1] * unit[1])
    layer.reset_parameters()
    torch.testing.assert_close(layer(stages), StageAggregation((3.0, 1.0))(stages))


def test_attention_lets_the_present_choose_among_its_past():
    stages = torch.randn(3, 2, 4, dtype=torch.double, requires_grad=True)
    seen = torch.tensor([[True, True], [True, True], [True, False]])
    layer = StageAggregation((0.5, 0.3, 0.2), mode="attention", sharpness=2.0)
    unit = F.normalize(stages, dim=-1)
    for i, known in enumerate((3, 2)):
        logits = torch.tensor([0.5, 0.3, 0.2], dtype=torch.double)[:known].log() + 2 * unit[:known, i] @ unit[0, i]
        torch.testing.assert_close(layer(stages, seen)[i], logits.softmax(0) @ unit[:known, i], atol=1e-7, rtol=0)
    assert torch.autograd.gradcheck(lambda s: layer(s, seen), (stages,))


@pytest.mark.parametrize("mode", ["fixed", "attention"])
def test_rows_of_zeros_in_float16(mode):
    stages = torch.stack([torch.randn(4, 8), torch.zeros(4, 8)])
    seen = torch.tensor([[True] * 4, [False] * 4])
    layer = StageAggregation(mode=mode)
    for given in (None, seen):
        out = layer(stages.half(), given)
        assert out.dtype == torch.float16
        torch.testing.assert_close(out.float(), layer(stages, given), atol=2e-3, rtol=0)


def test_a_sharp_attention_leaves_one_of_the_stages_that_count():
    stages = torch.randn(3, 2, 4, dtype=torch.double, requires_grad=True)
    seen = torch.tensor([[False, True], [True, True], [False, True]])
    layer = StageAggregation((0.5, 0.3, 0.2), mode="attention", sharpness=1000.0)
    out, unit = layer(stages, seen), F.normalize(stages, dim=-1)
    torch.testing.assert_close(out, torch.stack([unit[1, 0], unit[0, 1]]))
    assert (layer(stages, torch.zeros(3, 2)) == 0).all()


def test_modes_in_repr_and_errors():
    assert repr(StageAggregation(mode="learned")) == "StageAggregation(weights=[0.5, 0.5], mode='learned')"
    assert not StageAggregation().state_dict().keys() - {"weights"}
    with pytest.raises(ValueError, match="'fixed', 'learned', 'attention', got 'lstm'"):
        StageAggregation(mode="lstm")
    with pytest.raises(ValueError, match=r"weights as positive numbers to start from, got \[1.0, 0.0\]"):
        StageAggregation((1.0, 0.0), mode="learned")
