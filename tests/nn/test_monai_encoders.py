"""MONAI's networks of volumes give what MONAI gives, start from MedicalNet's weights, and say what they need."""

import subprocess
import sys

import pytest
import torch

from medfusion_jupyter.nn import WeightsError
from medfusion_jupyter.nn.image_encoders import build_image_encoder
from medfusion_jupyter.nn.monai_encoders import ENTRIES

nets = pytest.importorskip(
    "monai.networks.nets", reason="MONAI is not installed: pip install 'medfusion-jupyter[monai]'"
)

ENTRY = {entry.name: entry for entry in ENTRIES}
SIDE = 32


def both(name, channels=1):
    """MONAI's own network and ours with the same weights."""
    torch.manual_seed(0)
    theirs = ENTRY[name].build(ENTRY[name].network).eval()
    torch.manual_seed(0)
    return theirs, build_image_encoder(name, channels=channels, size=SIDE).eval()


def volumes(channels=1):
    return torch.randn(2, channels, SIDE, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("name", "classifier"),
    [("monai_densenet121", lambda net: net.class_layers.out), ("monai_efficientnet_b0", lambda net: net._fc)],
)
def test_the_map_is_what_monais_classifier_looks_at(name, classifier):
    theirs, ours = both(name)
    with torch.no_grad():
        assert torch.allclose(classifier(theirs)(ours(volumes())), theirs(volumes()), atol=1e-4)


def test_a_resnets_map_is_the_last_of_monais():
    theirs, ours = both("monai_resnet18")
    with torch.no_grad():
        assert torch.allclose(ours.feature_map(volumes()), theirs(volumes())[-1], atol=1e-5)


@pytest.fixture
def medicalnet(tmp_path):
    """A file with the names of MedicalNet's, of random weights."""
    torch.manual_seed(3)
    network = nets.ResNetFeatures("resnet18", pretrained=False, spatial_dims=3, in_channels=1)
    file = tmp_path / "resnet_18_23dataset.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, file)
    return network.eval(), file


@pytest.mark.parametrize("channels", [1, 2])
def test_a_resnet_starts_from_a_file_of_medicalnet(medicalnet, channels):
    network, file = medicalnet
    ours = build_image_encoder("monai_resnet18", channels=channels, size=SIDE, weights=file).eval()
    x = volumes()
    with torch.no_grad():
        assert torch.allclose(ours.feature_map(x.expand(-1, channels, -1, -1, -1)), network(x)[-1], atol=1e-4)


def test_a_file_of_another_network_is_refused(medicalnet):
    with pytest.raises(WeightsError, match="do not fit 'monai_resnet50'"):
        build_image_encoder("monai_resnet50", channels=1, size=SIDE, weights=medicalnet[1])


WITHOUT = """
import sys
sys.modules["monai"] = None  # as where it is not installed
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "monai" else find(name, *more)
from medfusion_jupyter.nn import image_encoders
assert "monai_resnet18" in list(image_encoders)
try:
    image_encoders("monai_resnet18")(channels=1)
except ModuleNotFoundError as refused:
    assert "pip install 'medfusion-jupyter[monai]'" in str(refused), refused
else:
    raise AssertionError("accepted")
"""


def test_without_monai_they_are_listed_and_say_what_to_install():
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)


def test_naming_and_listing_them_does_not_import_monai():
    code = "import sys; from medfusion_jupyter.nn import image_encoders; image_encoders('monai_resnet18'); "
    subprocess.run([sys.executable, "-c", code + "assert 'monai' not in sys.modules"], check=True)
