"""A model as ONNX says what it says here: for any number of rows, with what is absent, prepared by its card alone."""

import json
import sys

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import PixelCache, TableEncoder
from medfusion_jupyter.nn import FusionModel, fusions
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing
from medfusion_jupyter.training import Model, ModelError, TrainingConfig
from medfusion_jupyter.training.preparation import prepare

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no image")

SIDE = 16


@pytest.fixture
def rows(tmp_path):
    """A function that makes a cohort of 24 rows, some without an image, some without any value in the table."""

    def made(target="y", **roles):
        rng = np.random.default_rng(0)
        for k in range(24):
            Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8)).save(tmp_path / f"{k}.png")
        frame = pd.DataFrame(
            {
                "image": [f"{k}.png" if k % 4 else None for k in range(24)],
                "side": [f"{23 - k}.png" if k % 3 else None for k in range(24)],
                "y": [0, 1] * 12,
                "los": rng.lognormal(1, 1, 24),
                "died": [1, 1, 0] * 8,
                "crp": [np.nan if k % 5 == 0 else float(k) for k in range(24)],
                "sex": [None if k % 5 == 0 else "mf"[k % 2] for k in range(24)],
            }
        )
        given = {"image": "image", "image_root": tmp_path, "numeric": ["crp"], "categorical": ["sex"], **roles}
        return mf.Cohort(frame, target=target, **given)

    return made


@pytest.fixture
def untrained(tmp_path):
    """The model of a cohort before its first step, with weights drawn by chance."""

    def made(cohort, **settings):
        settings = {"image_encoder": "light_cnn", "image_size": SIDE, "batch_size": 8, **settings}
        prepared = prepare(cohort.split(), TrainingConfig.of(settings), device="cpu", cache_dir=tmp_path / "cache")
        torch.manual_seed(0)
        module = FusionModel(prepared.architecture)
        module.head.fit(prepared.targets)
        if module.head.fits_outputs:
            module.head.fit_outputs(torch.randn(len(cohort), module.head.output_width), prepared.targets)
        for absent in module.absent.values():
            torch.nn.init.normal_(absent)  # a token that has learned
        return Model(module.eval(), prepared.spec, "m", None, None, 0, {})

    return made


@pytest.fixture
def by_card(tmp_path):
    """What the exported graph says of the rows of a cohort, prepared as its card tells."""

    def predicted(path, cohort, chosen):
        card = json.loads(path.with_suffix(".json").read_text())
        how, table = (card["preprocessing"].get(name) for name in ("images", "table"))
        inputs, presence = {}, []
        if how is not None:
            steps = {name: how[name] for name in ("crop", "clahe", "resize")}
            cache = PixelCache.open(
                cohort.images[:, :, 0],
                size=how["image_size"],
                channels=how["channels"],
                preprocessing=ImagePreprocessing(**steps),
                cache_dir=tmp_path / "other",
            )
            for name, slots in zip([one["name"] for one in card["inputs"]], cache.slots, strict=False):
                inputs[name] = (cache.pixels[slots[chosen]] / cache.max_value).astype(np.float32)
                presence.append(slots[chosen] >= 0)
        if table is not None:
            arrays = TableEncoder.from_json(table).transform(cohort)
            inputs |= {"table": arrays.numeric[chosen], "categories": arrays.codes[chosen]}
            presence.append(arrays.present[chosen])
        inputs["presence"] = np.stack(presence, axis=1)
        session = onnxruntime.InferenceSession(path)
        names = [one.name for one in session.get_inputs()]
        assert names == [one["name"] for one in card["inputs"]]
        return session.run(["prediction"], {name: inputs[name] for name in names})[0], card["output"]["columns"]

    return predicted


def test_the_graph_says_what_the_model_says(rows, untrained, by_card, tmp_path):
    cohort = rows().preprocess_images(crop=0.75, resize="pad", clahe=3).preprocess_table(scale="robust", rare=2)
    model = untrained(cohort)
    path = model.export(tmp_path / "model.onnx")
    expected = model.predict(cohort)
    for chosen in (np.arange(24), np.asarray([0]), np.asarray([1]), np.asarray([20, 4])):  # 0 and 20 have neither
        said, columns = by_card(path, cohort, chosen)
        assert columns == list(expected.columns)
        assert np.allclose(said, expected.iloc[chosen], atol=1e-5)
    assert expected["0"].nunique() > 12
    card = json.loads((tmp_path / "model.json").read_text())
    told = " ".join(card["preprocessing"]["images"]["steps"])
    assert "crop=0.75" in told
    assert "CLAHE with a clip limit of 3" in told
    assert "pad it to 16 x 16" in told
    assert str(tmp_path) not in json.dumps(card)  # nobody's folders


def test_views_and_images_with_a_mean_of_their_own(rows, untrained, by_card, tmp_path):
    cohort = rows(image={"front": "image", "side": "side"}).preprocess_images(normalise="image")
    model = untrained(cohort, fusion="transformer", tabular_encoder="ft_transformer")
    said, _ = by_card(model.export(tmp_path / "views.onnx"), cohort, np.arange(24))
    assert np.allclose(said, model.predict(cohort), atol=1e-5)


@pytest.mark.parametrize("none", ["numeric", "categorical"])
@pytest.mark.parametrize("encoder", ["mlp", "ft_transformer"])
def test_a_table_of_numbers_or_of_categories_alone(rows, untrained, by_card, tmp_path, none, encoder):
    cohort = rows(**{none: []})
    model = untrained(cohort, tabular_encoder=encoder)
    said, _ = by_card(model.export(tmp_path / "table.onnx"), cohort, np.arange(24))
    assert np.allclose(said, model.predict(cohort), atol=1e-5)


@pytest.mark.parametrize(
    ("target", "head", "columns"),
    [
        (mf.Regression("los"), "gaussian", ["los", "los_std"]),
        (mf.Survival(time="los", event="died"), "hazard", None),
        (mf.Survival(time="los", event="died"), "cox", None),
        ({"stay": mf.Regression("los"), "sick": "y"}, "auto", ["stay", "sick_0", "sick_1"]),
    ],
)
def test_a_table_alone_and_every_column_of_a_prediction_is_named(
    rows, untrained, by_card, tmp_path, target, head, columns
):
    cohort = rows(target)
    model = untrained(cohort, head=head, image_encoder=None)
    said, named = by_card(model.export(tmp_path / "table.onnx"), cohort, np.arange(24))
    expected = model.predictions(cohort, np.arange(24))
    assert np.allclose(said, expected, rtol=1e-4, atol=1e-5)
    assert len(named) == expected.shape[1]
    assert named == (columns or list(model.predict(cohort)))


@pytest.mark.heavy
@pytest.mark.parametrize("fusion", list(fusions))
def test_every_fusion_has_onnx(rows, untrained, by_card, tmp_path, fusion):
    cohort = rows()
    model = untrained(cohort, fusion=fusion)
    said, _ = by_card(model.export(tmp_path / "m.onnx"), cohort, np.arange(24))
    assert np.allclose(said, model.predict(cohort), atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "encoder", ["resnet18", "densenet121", "efficientnet_b0", "vit_b_16", "swin_t", "resnet18_3x3"]
)
def test_networks_of_every_kind_have_onnx(rows, untrained, by_card, tmp_path, encoder):
    cohort = rows()
    model = untrained(cohort, image_encoder=encoder, image_size=64)
    said, _ = by_card(model.export(tmp_path / "m.onnx"), cohort, np.arange(24))
    assert np.allclose(said, model.predict(cohort), atol=1e-4)


def test_a_part_without_onnx_is_named_and_nothing_is_written(rows, untrained, tmp_path, monkeypatch):
    model = untrained(rows())
    encoder = model.module.image_encoders[0]
    forward = encoder.forward
    # what it does depends on the values: no graph
    monkeypatch.setattr(encoder, "forward", lambda images: forward(images) * (2 if images.sum().item() > 0 else 1))
    with pytest.raises(ModelError, match=r"image_encoder='light_cnn' has no ONNX: .*format='archive'"):
        model.export(tmp_path / "m.onnx")
    assert list(tmp_path.glob("m.*")) == []


def test_what_cannot_be_exported_is_said_before_anything_is_done(rows, untrained, tmp_path, monkeypatch):
    model = untrained(rows(), image_encoder=None)
    with pytest.raises(ModelError, match=r"'model\.pt' and format=None do not say what to export"):
        model.export(tmp_path / "model.pt")
    with pytest.raises(ModelError, match="does not exist: make it first"):
        model.export(tmp_path / "nowhere" / "model.onnx")
    bags = rows(image="image", bag=True)
    with pytest.raises(ModelError, match="bags of images"):
        untrained(bags).export(tmp_path / "bags.onnx")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ModelError, match=r"pip install 'medfusion-jupyter\[onnx\]'"):
        model.export(tmp_path / "model.onnx")


def test_a_format_that_is_named_needs_no_ending(rows, untrained, tmp_path):
    model = untrained(rows(), image_encoder=None)
    assert model.export(tmp_path / "model.bin", format="archive").read_bytes()[:2] == b"PK"
    assert onnxruntime.InferenceSession(model.export(tmp_path / "net", "onnx")).get_outputs()[0].name == "prediction"
    assert (tmp_path / "net.json").exists()
