"""What each fusion promises beside the contract, which test_assembly.py tries on all."""

import pytest
import torch

from medfusion_jupyter.nn import Encoded, fusions


def fusion_of(name, widths=(6, 10)):
    torch.manual_seed(0)
    return fusions(name)(widths=list(widths)).eval()


def encoded(widths=(6, 10), n=5, seed=1):
    torch.manual_seed(seed)
    return [Encoded(torch.randn(n, w), torch.randn(n, 4, w)) for w in widths]


ALL_THERE, NO_TABLE = torch.ones(5, 2, dtype=torch.bool), torch.tensor([[True, False]]).expand(5, 2)


@pytest.mark.parametrize("name", ["late", "low_rank", "tensor"])
def test_an_absent_modality_leaves_no_trace(name):
    fusion, (image, table) = fusion_of(name), encoded()
    other = Encoded(table.vector + 3)
    assert torch.equal(fusion([image, table], NO_TABLE), fusion([image, other], NO_TABLE))
    assert not torch.allclose(fusion([image, table], ALL_THERE), fusion([image, other], ALL_THERE))


@pytest.mark.parametrize(("name", "part"), [("moe", "experts.1"), ("gated", "project.1")])
def test_the_part_of_an_absent_modality_has_no_share(name, part):
    fusion = fusion_of(name)
    for present, learns in ((ALL_THERE, True), (NO_TABLE, False)):
        fusion.zero_grad()
        fusion(encoded(), present).square().sum().backward()
        assert any((p.grad != 0).any() for p in fusion.get_submodule(part).parameters()) == learns


def interaction(fusion):
    """How much the effect of one modality hangs on the other: 0 where the two add up."""
    (a, b), (c, d) = encoded(seed=1), encoded(seed=2)
    with torch.no_grad():
        corners = [fusion([x, y], ALL_THERE) for x in (a, c) for y in (b, d)]
    return (corners[0] - corners[1] - corners[2] + corners[3]).abs().max()


def test_late_fusion_adds_up_and_all_others_can_do_more():
    for name in fusions:
        if name == "late":
            assert interaction(fusion_of(name)) < 1e-5
        else:
            assert interaction(fusion_of(name)) > 1e-3, name


def test_late_fusion_is_a_weighted_mean_scaled_by_what_is_there():
    fusion, (image, table) = fusion_of("late"), encoded()
    with torch.no_grad():
        fusion.log_weights.copy_(torch.tensor([0.0, 1.0]))
        fusion.scales.copy_(torch.tensor([0.0, 1.0, 1.5]))
        a, b = fusion.decide[0](image.vector), fusion.decide[1](table.vector)
        e = torch.tensor(1.0).exp()
        assert torch.allclose(fusion([image, table], ALL_THERE), 1.5 * (a + e * b) / (1 + e), atol=1e-6)
        assert torch.allclose(fusion([image, table], NO_TABLE), a, atol=1e-6)


@pytest.mark.parametrize("widths", [(6,), (6, 10), (6, 10, 4)])
def test_cross_attention_always_has_something_to_choose_from(widths):
    """A softmax over one key is 1, whatever the query is."""
    fusion, keys = fusion_of("cross_attention", widths), []
    for attend in fusion.attend:
        attend.register_forward_pre_hook(
            lambda module, given, named: keys.append((~named["key_padding_mask"]).sum(dim=1)), with_kwargs=True
        )
    bare = [Encoded(torch.randn(5, w), torch.randn(5, 1, w)) for w in widths]
    fusion(bare, torch.ones(5, len(widths), dtype=torch.bool))
    assert len(keys) == len(widths)
    assert all((visible >= 2).all() for visible in keys)


@pytest.mark.parametrize("name", [name for name in fusions if fusions(name).uses_tokens])
def test_tokens_that_are_not_visible_have_no_effect(name):
    fusion, (image, table) = fusion_of(name), encoded()
    visible = torch.tensor([[True, True, False, False]]).expand(5, 4)
    hidden = Encoded(image.vector, torch.where(visible.unsqueeze(2), image.tokens, 1e4), visible)
    fewer = Encoded(image.vector, image.tokens[:, :2])
    assert torch.allclose(fusion([hidden, table], ALL_THERE), fusion([fewer, table], ALL_THERE), atol=1e-5)


def test_a_product_of_many_modalities_stays_small():
    widths = [8] * 8
    assert fusion_of("tensor", widths).mix[0].in_features <= 4096
    with pytest.raises(ValueError, match="fusion='tensor' of 13 modalities is too large"):
        fusion_of("tensor", [8] * 13)
