"""Every image encoder keeps its contract; torchvision's give what torchvision gives."""

import itertools

import pytest
import torch
from light_models import all_finite

from medfusion_jupyter.nn import Architecture, FusionModel, image_encoders
from medfusion_jupyter.nn.image_encoders import build_image_encoder
from medfusion_jupyter.nn.torchvision_encoders import FAMILIES

NAMES = list(image_encoders)
ONE_OF_EACH = [
    "light_cnn",
    "light_cnn_3d",
    *("monai_resnet10", "monai_densenet121", "monai_efficientnet_b0"),
    *(name for family in FAMILIES for name in family.names[:1] if name not in ("vit_b_16", "vit_h_14")),
    *(f"{family.names[0]}_3x3" for family in FAMILIES if family.small_stem is not None),
]
WITH_THE_REST_HEAVY = [name if name in ONE_OF_EACH else pytest.param(name, marks=pytest.mark.heavy) for name in NAMES]


def images(encoder, size, n=2, channels=2):
    return torch.randn(n, channels, *([size] * encoder.dimensions), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", WITH_THE_REST_HEAVY)
def test_at_its_smallest_size_an_encoder_keeps_the_contract(name):
    torch.manual_seed(0)
    size = image_encoders(name).smallest
    encoder = build_image_encoder(name, channels=2, size=size)
    assert size == encoder.smallest
    assert size % encoder.multiple_of == 0
    x = images(encoder, size)
    encoder.eval()
    with torch.no_grad():
        vector, tokens, visible = encoder.encode(x)
        features = encoder.feature_map(x)
        assert torch.equal(encoder(x), vector)
    width = encoder.out_features
    assert vector.shape == (2, width)
    assert visible is None
    assert features.shape[:2] == (2, width)
    assert features.ndim == 2 + encoder.dimensions
    assert torch.equal(tokens, features.flatten(2).transpose(1, 2))
    if not name.startswith("vit_"):  # its vector is a token of its own
        assert torch.allclose(vector, features.flatten(2).mean(2), atol=1e-5)
    encoder.train()(x).square().mean().backward()
    # what an encoder does not use would be trained, averaged and stored for nothing
    assert not [key for key, p in encoder.named_parameters() if p.grad is None]
    assert all_finite(p.grad for p in encoder.parameters())


def test_all_of_torchvisions_classification_networks_are_here_and_no_other():
    import torchvision.models

    there = set(torchvision.models.list_models(module=torchvision.models))
    ours = set(itertools.chain.from_iterable(family.names for family in FAMILIES if family.dimensions == 2))
    assert ours == there


def test_naming_and_listing_encoders_does_not_import_torchvision():
    import subprocess
    import sys

    code = (
        "import sys; from medfusion_jupyter.nn import image_encoders; image_encoders('resnet50'); list(image_encoders); "
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name", ["resnet18", "densenet121", "efficientnet_b0", "convnext_tiny", "mobilenet_v3_small", "regnet_x_400mf"]
)
def test_the_map_is_what_torchvisions_classifier_looks_at(name):
    from torchvision.models import get_model

    torch.manual_seed(0)
    theirs = get_model(name, weights=None).eval()
    torch.manual_seed(0)
    ours = build_image_encoder(name, channels=3, size=64).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        vector = ours(x)
        if name == "convnext_tiny":
            # the last layer norm is before the pooling here: every position of the map is normalised
            pooled = theirs.classifier[0](theirs.features(x)).mean((2, 3))
            assert torch.allclose(vector, pooled, atol=1e-4)
            return
        classifier = theirs.fc if hasattr(theirs, "fc") else theirs.classifier
        assert torch.allclose(classifier(vector), theirs(x), atol=1e-4)


def test_a_vision_transformer_is_torchvisions():
    from torchvision.models import vit_b_32

    torch.manual_seed(0)
    theirs = vit_b_32(image_size=64).eval()
    torch.manual_seed(0)
    ours = build_image_encoder("vit_b_32", channels=3, size=64).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.allclose(theirs.heads(ours(x)), theirs(x), atol=1e-4)


@pytest.mark.parametrize("name", ["resnet18_3x3", "densenet121_3x3", "shufflenet_v2_x0_5_3x3"])
def test_a_small_stem_keeps_the_resolution(name):
    small, plain = (build_image_encoder(one, channels=1, size=32).eval() for one in (name, name.removesuffix("_3x3")))
    x = torch.randn(2, 1, 32, 32)
    assert small.feature_map(x).shape[2] == 4 * plain.feature_map(x).shape[2]
    first = next(m for m in small.modules() if isinstance(m, torch.nn.Conv2d))
    assert first.kernel_size == (3, 3)
    assert first.stride == (1, 1)


@pytest.mark.parametrize(
    ("name", "size", "complaint"),
    [
        ("resnet18", 16, "at least 32 pixels a side, image_size is 16. Raise image_size or choose 'resnet18_3x3'"),
        ("convnext_tiny", 16, "at least 32 pixels .* or choose 'light_cnn'"),
        ("vit_b_16", 100, "a multiple of 16 pixels, image_size is 100. Set image_size=112"),
        ("maxvit_t", 112, "a multiple of 32 pixels, image_size is 112. Set image_size=128"),
    ],
)
def test_images_that_do_not_fit_the_encoder_are_refused_with_a_way_out(name, size, complaint):
    with pytest.raises(ValueError, match=complaint):
        FusionModel(Architecture(name, None, "concat", "classification", 2, 1, size))


@pytest.mark.parametrize("size", [96, 224])
def test_a_maxvit_is_built_for_its_size(size):
    encoder = build_image_encoder("maxvit_t", channels=1, size=size).eval()
    with torch.no_grad():
        assert encoder.feature_map(torch.randn(1, 1, size, size)).shape == (1, 512, size // 32, size // 32)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_random_first_layers_answer_as_strongly_for_any_number_of_channels(channels):
    torch.manual_seed(0)
    encoder = build_image_encoder("resnet18", channels=channels, size=32)
    response = encoder.stem[0](torch.randn(16, channels, 32, 32))
    reference = build_image_encoder("resnet18", channels=3, size=32).stem[0](torch.randn(16, 3, 32, 32))
    assert 0.8 < response.std() / reference.std() < 1.25


@pytest.mark.parametrize("name", ["light_cnn_3d", "mc3_18"])
def test_volumes_train_in_a_model(name):
    model = FusionModel(Architecture(name, "mlp", "cross_attention", "classification", 2, 1, 16, 3)).train()
    present = torch.tensor([[True, True], [True, True], [False, True], [True, False]])
    outputs = model(torch.randn(4, 1, 16, 16, 16), torch.randn(4, 3), torch.zeros(4, 0, dtype=torch.long), present)
    model.head.loss(outputs, torch.tensor([0, 1, 0, 1])).backward()
    assert all_finite(p.grad for p in model.parameters())


@pytest.mark.parametrize("name", ["light_cnn", "light_cnn_3d", "resnet18", "densenet121_3x3", "vgg11_bn", "vit_b_32"])
def test_recomputing_keeps_less_and_changes_no_gradient(name):
    size = max(16, image_encoders(name).smallest)

    def learn(recompute):
        torch.manual_seed(0)
        encoder = build_image_encoder(name, channels=1, size=size).train()
        encoder.recompute = recompute
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
            out = encoder(images(encoder, size, n=4, channels=1))
        out.square().mean().backward()
        return sum(kept), [p.grad for p in encoder.parameters()], list(encoder.buffers())

    (all_kept, gradients, statistics), (few_kept, again, statistics_again) = learn(False), learn(True)
    assert few_kept < all_kept
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients, again, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(statistics, statistics_again, strict=True))
