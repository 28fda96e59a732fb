"""Weights to start from: torchvision's, or a file's; a first layer for any number of channels that wastes none of them."""

import pytest
import torch
from safetensors.torch import save_file

from medfusion_jupyter.nn import Architecture, FusionModel, WeightsError
from medfusion_jupyter.nn.image_encoders import build_image_encoder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's folder of downloads, of this test alone."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def offline(monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)


def network(name, **options):
    from torchvision.models import get_model

    torch.manual_seed(7)
    return get_model(name, weights=None, **options).eval()


def saved(tmp_path, name, suffix=".pth", **options):
    net = network(name, **options)
    path = tmp_path / f"{name}{suffix}"
    if suffix == ".safetensors":
        save_file(net.state_dict(), path)
    else:
        torch.save(net.state_dict(), path)
    return net, path


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("resnet18", ".pth"),
        ("resnet18", ".safetensors"),
        ("mnasnet0_5", ".pth"),
        ("mnasnet0_5", ".safetensors"),
        ("googlenet", ".pth"),
        ("convnext_tiny", ".pth"),
    ],
)
def test_a_file_of_torchvisions_weights_is_what_the_encoder_starts_from(tmp_path, name, suffix):
    options = {"init_weights": True, "aux_logits": True} if name == "googlenet" else {}
    net, path = saved(tmp_path, name, suffix, **options)
    encoder = build_image_encoder(name, channels=3, size=64, weights=path).eval()
    theirs = [p for p in net.parameters() if p.ndim == 4]
    assert all(
        any(p.shape == q.shape and torch.equal(p, q) for q in theirs) for p in encoder.parameters() if p.ndim == 4
    )
    if name == "resnet18":
        x = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.allclose(net.fc(encoder(x)), net(x), atol=1e-5)


def test_a_grey_image_gives_what_three_equal_channels_did(tmp_path):
    _, path = saved(tmp_path, "resnet18")
    grey, colour = (build_image_encoder("resnet18", channels=n, size=32, weights=path).eval() for n in (1, 3))
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(grey(x), colour(x.expand(-1, 3, -1, -1)), atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4, 6])
def test_equal_channels_give_nearly_what_three_equal_ones_did(tmp_path, channels):
    """Exactly so for a multiple of three; otherwise the colours that come once more count more."""
    _, path = saved(tmp_path, "resnet18")
    many, colour = (build_image_encoder("resnet18", channels=n, size=32, weights=path) for n in (channels, 3))
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        ours = many.stem[0](x.expand(-1, channels, -1, -1))
        theirs = colour.stem[0](x.expand(-1, 3, -1, -1))
    if channels % 3 == 0:
        assert torch.allclose(ours, theirs, atol=1e-5)
    assert torch.corrcoef(torch.stack([ours.flatten(), theirs.flatten()]))[0, 1] > 0.5


def test_volumes_start_from_video_weights(tmp_path):
    net, path = saved(tmp_path, "r3d_18")
    encoder = build_image_encoder("r3d_18", channels=1, size=16, weights=path)
    assert torch.equal(encoder.stem[0].weight, net.stem[0].weight.sum(dim=1, keepdim=True))
    assert torch.equal(encoder.stages[3][1].conv2[0].weight, net.layer4[1].conv2[0].weight)


def test_a_small_stem_takes_all_but_the_first_layer(tmp_path):
    net, path = saved(tmp_path, "resnet18")
    encoder = build_image_encoder("resnet18_3x3", channels=1, size=28, weights=path)
    assert torch.equal(encoder.stages[0][0].conv1.weight, net.layer1[0].conv1.weight)
    assert encoder.stem[0].weight.shape == (64, 1, 3, 3)


def test_a_vision_transformers_positions_are_interpolated_to_the_size(tmp_path):
    net, path = saved(tmp_path, "vit_b_32")
    encoder = build_image_encoder("vit_b_32", channels=3, size=128, weights=path)
    assert encoder.positions.shape == (1, 17, 768)
    assert torch.equal(encoder.positions[:, 0], net.encoder.pos_embedding[:, 0])
    assert torch.equal(encoder.patches.weight, net.conv_proj.weight)


def test_the_default_weights_are_found_where_torch_keeps_them(hub, offline, tmp_path):
    net, path = saved(tmp_path, "resnet18")
    path.rename(hub / "resnet18-f37072fd.pth")
    encoder = build_image_encoder("resnet18", channels=3, size=64, weights="default")
    assert torch.equal(encoder.stages[0][0].conv1.weight, net.layer1[0].conv1.weight)


def test_offline_the_error_names_the_file_and_its_folder(hub, offline):
    with pytest.raises(WeightsError) as error:
        build_image_encoder("resnet18", channels=3, size=64, weights="default")
    text = str(error.value)
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in text
    assert f"put the file resnet18-f37072fd.pth into {hub}" in text
    assert not list(hub.iterdir())


def test_a_download_is_checked_against_its_digest(hub, tmp_path, monkeypatch):
    from torchvision.models import ResNet18_Weights

    _, path = saved(tmp_path, "resnet18")
    wrong = path.rename(tmp_path / "resnet18-0123abcd.pth")
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", wrong.as_uri())
    with pytest.raises(WeightsError, match="invalid hash"):
        build_image_encoder("resnet18", channels=3, size=64, weights="default")
    assert not list(hub.iterdir())


def test_a_download_lands_in_torchs_folder_and_is_used(hub, tmp_path, monkeypatch):
    import hashlib

    from torchvision.models import ResNet18_Weights

    net, path = saved(tmp_path, "resnet18")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    right = path.rename(tmp_path / f"resnet18-{digest}.pth")
    monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, "url", right.as_uri())
    encoder = build_image_encoder("resnet18", channels=3, size=64, weights="default")
    assert torch.equal(encoder.stem[0].weight, net.conv1.weight)
    assert (hub / right.name).exists()


def test_weights_of_another_network_are_refused_by_name(tmp_path):
    _, path = saved(tmp_path, "resnet18")
    with pytest.raises(WeightsError, match=r"do not fit 'resnet34': layer1\.2\.conv1\.weight is missing"):
        build_image_encoder("resnet34", channels=3, size=64, weights=path)


def test_weights_of_another_width_are_refused_by_name(tmp_path):
    _, path = saved(tmp_path, "resnet50")
    with pytest.raises(WeightsError, match=r"do not fit 'wide_resnet50_2': layer1.*has the wrong shape"):
        build_image_encoder("wide_resnet50_2", channels=3, size=64, weights=path)


class Harmful:
    def __reduce__(self):
        return (open, ("/tmp/never-made-by-weights", "w"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "it does not exist"),
        (b"not a file of weights", "cannot be read"),
        ([1, 2], "are a list, not tensors by name"),
        (Harmful(), "cannot be read: Weights only load failed"),
    ],
)
def test_a_file_that_holds_no_tensors_is_refused(tmp_path, content, complaint):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=complaint):
        build_image_encoder("resnet18", channels=3, size=64, weights=path)


def test_an_encoder_without_pretrained_weights_says_so():
    with pytest.raises(ValueError, match="image_encoder='light_cnn' has no pretrained weights"):
        build_image_encoder("light_cnn", channels=1, size=32, weights="default")


def test_a_stored_model_is_built_without_them(tmp_path, hub, offline):
    _, path = saved(tmp_path, "resnet18")
    architecture = Architecture("resnet18", None, "concat", "classification", 2, 1, 32)
    model = FusionModel(architecture, image_weights=path)
    again = FusionModel(Architecture.from_json(architecture.to_json()))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.image_encoder.stem[0].weight, model.image_encoder.stem[0].weight)
