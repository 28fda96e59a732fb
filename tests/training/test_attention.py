"""Attention supervision looks where it is told, and a model that is told does not take the shortcut."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import CohortError, PixelCache
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.nn import Architecture, FusionModel
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.training import ConfigError, TrainingConfig
from medfusion_jupyter.training.attention import attention_inside, attention_loss, share_inside, with_attention
from medfusion_jupyter.training.preparation import prepare

SIDE = 32


def shortcut_cohort(folder, n, seed, *, shortcut, start=0):
    """Images of noise; the ill have a faint lesion somewhere, which is marked, and a bright corner as often as `shortcut` says.

    shortcut: the chance of a bright corner in the ill; in the well it is 1 - shortcut.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for k in range(start, start + n):
        ill = k % 2
        pixels = rng.normal(100, 20, (SIDE, SIDE))
        mask = None
        if ill:
            top, left = rng.integers(8, SIDE - 12, 2)
            pixels[top : top + 7, left : left + 7] += 18
            marked = np.zeros((SIDE, SIDE), np.uint8)
            marked[top : top + 7, left : left + 7] = 1  # not 255: whatever is not 0 counts
            mask = f"mask-{k}.png"
            Image.fromarray(marked).save(folder / mask)
        if rng.random() < (shortcut if ill else 1 - shortcut):
            pixels[:5, :5] = 250
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{k}.png")
        box = json.dumps([left, top, left + 7, top + 7], default=int) if ill else None
        rows.append({"image": f"{k}.png", "mask": mask, "box": box, "y": "ill" if ill else "well"})
    return pd.DataFrame(rows)


def cohort_of(folder, frame, mask="mask", boxes=None):
    return mf.Cohort(frame, target="y", image="image", image_root=folder, mask=mask, boxes=boxes)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shortcut")
    return folder, shortcut_cohort(folder, 500, 0, shortcut=0.99)


def test_told_where_the_lesion_is_a_model_does_not_take_the_shortcut(train, pictures, tmp_path):
    """Told by boxes, and measured by masks; those of the first are the second, as another test shows."""
    folder, frame = pictures
    cohort = cohort_of(folder, frame, mask=None, boxes="box")
    honest = cohort_of(tmp_path, shortcut_cohort(tmp_path, 300, 1, shortcut=0.5))
    found = {}
    for weight in (0, 2):
        job = train(
            cohort,
            image_size=SIDE,
            epochs=8,
            lr=2e-3,
            batch_size=32,
            augment={"flip": 0, "rotate": 0},
            attention_supervision=weight,
            patience=None,
            watch="val/loss",  # the AUROC of the shortcut is 1 from the first epoch on
        ).wait()
        model = job.model
        spec, module = model.spec, model.module
        masks = PixelCache.open(honest.mask_paths, size=SIDE, channels=1, cache_dir=tmp_path)
        source = spec.source(
            honest,
            spec.pixels(honest, tmp_path),
            np.arange(300),
            batch_size=100,
            device="cpu",
            targets=honest.target_codes,
        )
        source.read_masks(masks)
        inside = attention_inside(module, source, torch.autocast("cpu", enabled=False))
        found[weight] = (inside, mf.evaluate(model, honest).auroc.value)
        assert ("val/attention_inside" in job.history) == (weight > 0)
    (before, fooled), (after, learned) = found[0], found[2]
    assert after > before + 0.2, found
    assert learned > fooled + 0.1, found


def test_the_share_is_of_positions_that_hold_a_marked_pixel():
    attention = torch.tensor([[[3.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]]])
    masks = torch.zeros(2, 1, 8, 8)
    masks[0, 0, 1, 2] = 1  # within the first of four positions
    share = share_inside(attention, masks)
    assert share[0] == pytest.approx(0.75)
    assert share[1].isnan()
    assert attention_loss(attention, masks) == pytest.approx(0.25)
    assert attention_loss(attention, torch.zeros(2, 1, 8, 8)) == 0


def test_it_pushes_the_weights_and_changes_no_output():
    torch.manual_seed(0)
    model = FusionModel(Architecture("light_cnn", "mlp", "film", "classification", 3, 1, 16, 5, (3, 4))).eval()
    from medfusion_jupyter.data.batches import Batch

    images, numeric, codes = torch.randn(4, 1, 16, 16), torch.randn(4, 5), torch.zeros(4, 2, dtype=torch.long)
    present = torch.tensor([[True, True], [True, False], [False, True], [True, True]])
    batch = Batch((images,), numeric, codes, present, torch.tensor([0, 1, 2, 0]), np.arange(4), False)
    outputs, attention = with_attention(model, batch)
    assert torch.allclose(outputs, model(images, numeric, codes, present), atol=1e-5)
    assert attention.shape == (4, 2, 2)
    assert not attention[2].any()  # there is no image to look at
    masks = torch.zeros(4, 1, 16, 16)
    masks[:, :, :4, :4] = 1
    attention_loss(attention[:2], masks[:2]).backward()
    assert all(p.grad.isfinite().all() for p in model.image_encoder.parameters())
    assert any(p.grad.any() for p in model.image_encoder.parameters())


def test_masks_move_with_their_images(tmp_path):
    """The image is its own mask: after any move they are still the same place."""
    rng = np.random.default_rng(0)
    pixels = np.zeros((20, 1, SIDE, SIDE), np.uint8)
    for one in pixels:
        top, left = rng.integers(4, 18, 2)
        one[0, top : top + 8, left : left + 8] = 255
    cache = PixelCache(pixels, np.arange(20), "key")
    source = BatchSource(
        cache,
        None,
        None,
        rows=np.arange(20),
        batch_size=20,
        device="cpu",
        mean=[0],
        std=[1],
        modalities=["image"],
    )
    source.read_masks(cache)
    generator = torch.Generator().manual_seed(0)
    (batch,) = source.epoch((0, 0), Augmentation(rotate=40, translate=0.2, brightness=0, contrast=0), generator)
    assert torch.equal(batch.mask, batch.images[0])
    moved = torch.from_numpy(pixels[batch.rows] / 255).float()
    assert not torch.allclose(batch.mask, moved, atol=0.5)
    (plain,) = source.epoch(None, None, None)
    assert torch.equal(plain.mask, plain.images[0])


def test_rows_without_a_mask_have_an_empty_one(pictures):
    folder, frame = pictures
    cohort = cohort_of(folder, frame.head(4))
    assert [path is not None for path in cohort.mask_paths] == [False, True, False, True]
    again = mf.Cohort.from_roles(cohort.frame, cohort.roles())
    assert again.mask_paths == cohort.mask_paths
    assert cohort.subset(np.array([1])).mask_paths == cohort.mask_paths[1:2]
    assert cohort.fingerprint != cohort_of(folder, frame.head(4), mask=None).fingerprint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mixup": 0.2}, "cannot be had with mixup=0.2"),
        ({"head": "ordinal"}, "head='ordinal'"),
        ({"image_encoder": None}, "is of images"),
        (
            {"freeze": ["image_encoder"], "augment": False, "cache_features": True},
            "attention_supervision looks at the images",
        ),
    ],
)
def test_what_it_cannot_go_with_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig.of({**settings, "attention_supervision": 1})


def test_without_masks_it_is_refused_before_anything_is_stored(pictures):
    folder, frame = pictures
    with pytest.raises(ConfigError, match="make the cohort with mask='column'"):
        mf.train(cohort_of(folder, frame, mask=None), attention_supervision=1, image_encoder="light_cnn")
    with pytest.raises(ConfigError, match="None of the masks in the column 'mask'"):
        mf.train(cohort_of(folder, frame.assign(mask=None)), attention_supervision=1, image_encoder="light_cnn")
    with pytest.raises(CohortError, match="one image a row"):
        mf.Cohort(frame, target="y", image=["image"], image_root=folder, mask="mask", bag=True)
    assert len(mf.jobs()) == 0


def test_an_encoder_that_sums_up_in_a_token_says_so(train, pictures):
    folder, frame = pictures
    job = train(
        cohort_of(folder, frame.head(60)), attention_supervision=1, image_encoder="vit_b_32", image_size=64, epochs=1
    )
    with pytest.raises(RuntimeError, match="pools its map"):
        job.wait()


def test_a_model_that_was_told_predicts_without_masks(train, pictures):
    folder, frame = pictures
    model = train(cohort_of(folder, frame.head(60)), attention_supervision=1, epochs=1).wait().model
    unmarked = frame.tail(5)[["image"]]
    assert len(model.predict(unmarked)) == 5


@pytest.mark.parametrize(
    "steps", [{}, {"crop": (0, 0, 0.5, 0.5)}, {"crop": 0.75}, {"crop": (0, 0.25, 1, 0.75), "resize": "pad"}]
)
def test_boxes_are_the_masks_that_somebody_could_have_drawn(pictures, tmp_path, steps):
    folder, frame = pictures
    frame = frame[:40]
    masks = []
    for cohort in (cohort_of(folder, frame), cohort_of(folder, frame, mask=None, boxes="box")):
        config = TrainingConfig.of({"attention_supervision": 1, "image_size": SIDE, "image_encoder": "light_cnn"})
        split = (cohort.preprocess_images(**steps) if steps else cohort).split()
        prepared = prepare(split, config, device="cpu", cache_dir=tmp_path)
        augmented = prepared.train.epoch((0, 0), Augmentation(rotate=20), torch.Generator().manual_seed(0))
        masks.append(
            [batch.mask > 0.5 for source in (augmented, prepared.val.epoch(None, None, None)) for batch in source]
        )
    drawn, boxed = (torch.cat(of_source) for of_source in masks)
    assert drawn.any()
    # a pixel of a smaller image lies in a box as soon as a part of it does: at most one more on each side
    grown = torch.nn.functional.max_pool2d(drawn.float(), 5, stride=1, padding=2) > 0
    assert (
        torch.equal(drawn, boxed)
        if not steps
        else not (boxed & ~grown).any() and (boxed | ~drawn).float().mean() > 0.999
    )


def test_boxes_of_a_table_are_read_in_either_form_and_kept(pictures, tmp_path):
    folder, frame = pictures
    frame = frame[:4]
    sides = [json.loads(box) if isinstance(box, str) else [None] * 4 for box in frame["box"]]
    split = frame.assign(**{name: [side[k] for side in sides] for k, name in enumerate(("x0", "y0", "x1", "y1"))})
    lists = frame.assign(box=[[], [[1, 2, 3, 4], [5, 6, 7.5, 8]], np.nan, json.loads(frame["box"][3])])
    cohorts = [
        cohort_of(folder, frame, mask=None, boxes="box"),
        cohort_of(folder, split, mask=None, boxes=["x0", "y0", "x1", "y1"]),
        cohort_of(folder, lists, mask=None, boxes="box"),
    ]
    assert [[len(of_row) for of_row in cohort.box_places] for cohort in cohorts] == [[0, 1, 0, 1]] * 2 + [[0, 2, 0, 1]]
    assert np.array_equal(cohorts[0].box_places[3], cohorts[1].box_places[3])
    assert cohorts[2].box_places[1].tolist() == [[1, 2, 3, 4], [5, 6, 7.5, 8]]
    for k, cohort in enumerate(cohorts):
        cohort.write(tmp_path / str(k))
        again = mf.Cohort.read(tmp_path / str(k))
        assert again.fingerprint == cohort.fingerprint
        assert all(map(np.array_equal, again.box_places, cohort.box_places))
        assert np.array_equal(cohort.subset(np.array([3])).box_places[0], cohort.box_places[3])


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ([[5, 5, 5, 9]], r"box \[5, 5, 5, 9\] of row 1 \('box'\) is none: .*x1 = x0 \+ width"),
        ([[5, 9, 8, 2]], "is none"),
        ([[-1, 0, 8, 2]], "is none"),
        ([[0, 0, float("nan"), 2]], "is none"),
        ([[0, 0, 33, 2]], r"reaches beyond its image, which is 32 pixels wide and 32 high"),
        ([[0, 0, 3]], r"row 1: boxes are \[\[x0, y0, x1, y1\]"),
        ("12 by 9", "row 1: boxes are"),
        ('{"x0": 1}', "row 1: boxes are"),
        (7, "row 1: boxes are"),
    ],
)
def test_a_box_that_is_none_is_named(pictures, box, words):
    folder, frame = pictures
    with pytest.raises(CohortError, match=words):
        cohort_of(folder, frame[:2].assign(box=[None, box]), mask=None, boxes="box")


def test_columns_of_boxes_that_do_not_fit_are_refused(pictures):
    folder, frame = pictures
    half = frame[:2].assign(x0=[1, None], y0=[1, 1], x1=[2, 2], y1=[2, 2])
    for more, words in (
        ({"boxes": ["x0", "y0", "x1"]}, "must name four columns"),
        ({"boxes": ["x0", "y0", "x1", "y1"]}, "box of row 1 has no 'x0'"),
        ({"boxes": "bok"}, r"no column 'bok' \(boxes\). Did you mean 'box'"),
        ({"boxes": "box", "mask": "mask"}, "two ways to say what was marked"),
    ):
        with pytest.raises(CohortError, match=words):
            cohort_of(folder, half, **{"mask": None, **more})
    none = cohort_of(folder, frame.assign(box=None), mask=None, boxes="box")
    with pytest.raises(ConfigError, match="No row has a box"):
        mf.train(none, attention_supervision=1, image_encoder="light_cnn")


def test_masks_are_cropped_as_the_images_of_a_run_are(pictures, tmp_path):
    folder, frame = pictures
    cohort = cohort_of(folder, frame[:60]).preprocess_images(crop=(0, 0, 0.5, 0.5), clahe=2)
    config = TrainingConfig.of({"attention_supervision": 1, "image_size": SIDE, "image_encoder": "light_cnn"})
    prepared = prepare(cohort.split(), config, device="cpu", cache_dir=tmp_path)
    (batch, *_) = prepared.train.epoch(None, None, None)
    marked = [path is not None and bool(np.asarray(Image.open(path))[:16, :16].any()) for path in cohort.mask_paths]
    assert batch.mask.flatten(1).any(dim=1).tolist() == [marked[row] for row in batch.rows]
    assert 0 < sum(marked) < sum(path is not None for path in cohort.mask_paths)
