"""What images and table go through before a model: each step does what it says, and a cohort keeps it."""

import sys

import numpy as np
import pandas as pd
import pytest
from dicom_files import write_dicom, write_series
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import Cohort, CohortError, PixelCache, TableEncoder
from medfusion_jupyter.data.batches import BatchSource
from medfusion_jupyter.data.readers.medical_image import ends_of
from medfusion_jupyter.settings.preprocessing import ImagePreprocessing

BOX = (0.25, 0.125, 0.75, 0.5)
"""Where the bright part of the pictures is: columns 16 to 48 of 64, rows 4 to 16 of 32."""


@pytest.fixture
def pixels(tmp_path):
    """A picture (or volume) as it is decoded after some steps."""

    def decoded(array, size=16, **steps):
        path = tmp_path / ("a.png" if array.ndim == 2 or array.shape[-1] == 3 else "a.npy")
        if path.suffix == ".npy":
            np.save(path, array)
        else:
            Image.fromarray(array).save(path)
        steps = ImagePreprocessing(**steps)
        return PixelCache.open([path], size=size, preprocessing=steps, cache_dir=tmp_path / "cache").pixels[0]

    return decoded


def picture(dtype=np.uint8, low=0):
    """`(32, 64)`: dark, with a bright part in BOX."""
    found = np.full((32, 64), low, dtype)
    found[4:16, 16:48] = np.iinfo(dtype).max // 2
    return found


@pytest.fixture
def cohort(tmp_path):
    """40 rows with pictures, some with a mask of their bright part, and a table."""
    rng = np.random.default_rng(0)
    rows = []
    for k in range(40):
        image, mask = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8)
        top, left = rng.integers(0, 16), rng.integers(0, 32)
        image[top : top + 16, left : left + 32] = rng.integers(60, 120 + 60 * (k % 2), (16, 32))
        mask[top : top + 8, left : left + 16] = 255
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        Image.fromarray(mask).save(tmp_path / f"{k}-mask.png")
        rows.append(
            {"image": f"{k}.png", "mask": f"{k}-mask.png", "y": k % 2, "crp": rng.lognormal(3), "sex": "mf"[k % 2]}
        )
    return mf.Cohort(
        pd.DataFrame(rows), target="y", image="image", image_root=tmp_path, mask="mask", numeric=["crp"], categorical=["sex"]
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("crop", ["foreground", BOX])
def test_a_crop_keeps_the_part_and_nothing_else(pixels, dtype, crop):
    found = pixels(picture(dtype), crop=crop)
    assert found.dtype == dtype
    assert (found == np.iinfo(dtype).max // 2).all()


def test_air_is_no_foreground_in_a_window_in_which_it_is_not_black(tmp_path):
    slice_of_ct = np.full((1, 32, 64), -1000)
    slice_of_ct[0, 4:16, 16:48] = 40
    write_series(tmp_path, slice_of_ct)
    how = {"size": 16, "preprocessing": ImagePreprocessing(crop="foreground"), "cache_dir": tmp_path / "cache"}
    for window in (None, "lung"):
        found = PixelCache.open([tmp_path / "IM0000"], window=window and ends_of(window), **how).pixels
        assert found.min() == found.max() > 0


def test_a_share_is_kept_around_the_centre(pixels):
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))
    found = pixels(ramp, size=32, crop=0.5)
    assert np.array_equal(found[0, 0], np.arange(16, 48) * 4)


def test_an_image_without_foreground_is_kept_whole_and_a_thin_crop_has_a_pixel(pixels):
    assert (pixels(np.zeros((8, 8), np.uint8), crop="foreground") == 0).all()
    assert pixels(picture(), crop=(0.5, 0.3, 0.5001, 0.3001)).max() == 127


def test_padding_keeps_the_proportions_and_stretching_does_not(pixels):
    light = np.full((8, 32), 200, np.uint8)
    padded = pixels(light, resize="pad")
    assert (padded[0, 6:10] == 200).all()
    assert (padded[0, :6] == 0).all()
    assert (padded[0, 10:] == 0).all()
    assert (pixels(light) == 200).all()


def test_clahe_raises_the_contrast_and_keeps_16_bits(pixels):
    rng = np.random.default_rng(0)
    faint = (30_000 + rng.normal(0, 40, (128, 128)).cumsum(axis=0)).astype(np.uint16)
    plain, weak, strong = (
        pixels(faint, size=128, **steps).astype(float) for steps in ({}, {"clahe": 1.5}, {"clahe": 20})
    )
    assert weak.std() > 5 * plain.std()
    assert len(np.unique(weak)) > 1000

    def local_contrast(image):
        return np.abs(np.diff(image[0], axis=0)).mean()

    assert local_contrast(strong) > 1.2 * local_contrast(weak) > 5 * local_contrast(plain)


def test_clahe_leaves_the_colours(pixels):
    rng = np.random.default_rng(0)
    grey = rng.integers(90, 110, (64, 64, 1)).astype(np.uint8)
    found = pixels(np.concatenate([grey + 30, grey, grey], axis=2), size=64, clahe=2).astype(int)
    inside = (found > 0).all(axis=0) & (found < 255).all(axis=0)
    assert inside.any()
    assert np.abs((found[0] - found[1])[inside] - 30).max() <= 1
    assert found[1].std() > 2 * grey.std()


def test_a_volume_is_cropped_along_its_three_axes(pixels):
    volume = np.zeros((12, 16, 20), np.float32)
    volume[3:9, 4:12, 5:15] = 1
    assert (pixels(volume, size=(6, 8, 10), crop="foreground") == 65535).all()
    assert pixels(volume, size=(6, 8, 10)).min() == 0


@pytest.mark.parametrize("steps", [{"crop": "foreground"}, {"crop": BOX}, {"crop": 0.5}, {"resize": "pad"}])
def test_a_mask_goes_where_its_image_goes(cohort, tmp_path, steps):
    steps = ImagePreprocessing(**steps)
    how = {"size": 32, "preprocessing": steps, "cache_dir": tmp_path / "cache"}
    masks = PixelCache.open(cohort.mask_paths, of_images=cohort.image_paths, channels=1, **how)
    images = PixelCache.open(cohort.image_paths, **how)
    for mask, image in zip(masks.pixels[masks.slots], images.pixels[images.slots], strict=True):
        assert (image[mask > 250] > 0).all()  # what is marked lies within what is bright
    if steps.crop == "foreground":
        quarter = masks.pixels[masks.slots] > 128
        assert quarter[:, 0, :15, :15].all()
        assert not quarter[:, 0, 17:, 17:].any()


def test_one_file_may_be_the_mask_of_two_images_that_are_not_cropped_alike(tmp_path):
    left, right = np.zeros((32, 64), np.uint8), np.zeros((32, 64), np.uint8)
    left[:, :32], right[:, 32:] = 200, 200
    marked = np.zeros((32, 64), np.uint8)
    marked[:, :16] = 255  # half of what is bright in the first image, nothing of the second
    for name, pixels in (("left", left), ("right", right), ("marked", marked)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    images = [tmp_path / "left.png", tmp_path / "right.png", None]
    how = {"size": 16, "preprocessing": ImagePreprocessing(crop="foreground"), "cache_dir": tmp_path / "cache"}
    for order in ([0, 1], [1, 0], [0, 1, 0, 2]):
        masks = PixelCache.open(
            [tmp_path / "marked.png"] * len(order), of_images=[images[k] for k in order], channels=1, **how
        )
        first, second = (masks.marked(np.asarray([order.index(k)]))[0, 0] for k in (0, 1))
        assert first[:, :8].all()
        assert not first[:, 9:].any()
        assert not second.any()


def test_the_mask_of_a_ct_is_cropped_as_its_window_shows_it(tmp_path):
    values = np.full((32, 64), 1024, np.uint16)
    values[:, :32] = 1024 + 400  # bright in the window, and everything is in the usual one
    write_dicom(tmp_path / "ct.dcm", values, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    marked = np.zeros((32, 64), np.uint8)
    marked[:, :32] = 255
    Image.fromarray(marked).save(tmp_path / "marked.png")
    how = {"size": 16, "window": (300.0, 500.0), "cache_dir": tmp_path / "cache"}
    masks = PixelCache.open(
        [tmp_path / "marked.png"],
        of_images=[tmp_path / "ct.dcm"],
        channels=1,
        preprocessing=ImagePreprocessing(crop="foreground"),
        **how,
    )
    assert (masks.pixels == 255).all()
    plain = PixelCache.open([tmp_path / "marked.png"], of_images=[tmp_path / "ct.dcm"], channels=1, **how)
    assert 0.4 < (plain.pixels > 127).mean() < 0.6  # a window is of the image, a mask has none


def test_images_are_normalised_by_what_was_chosen(cohort, tmp_path):
    cache = PixelCache.open(cohort.image_paths, size=16, cache_dir=tmp_path / "cache")
    how = {"rows": np.arange(40), "batch_size": 40, "device": "cpu", "modalities": ["image"]}
    (batch,) = BatchSource(cache, None, None, mean=(), std=(), **how).epoch(None, None, None)
    (images,) = batch.images
    assert np.allclose(images.mean(dim=(1, 2, 3)), 0, atol=1e-5)
    assert np.allclose(images.std(dim=(1, 2, 3), correction=0), 1, atol=1e-3)
    constant = PixelCache(np.full((2, 1, 4, 4), 9, np.uint8), np.asarray([0, 1]), "k")
    (batch,) = BatchSource(constant, None, None, mean=(), std=(), **how | {"rows": np.arange(2)}).epoch(
        None, None, None
    )
    assert (batch.images[0] == 0).all()


def test_the_cache_tells_the_steps_that_change_pixels_from_one_another(cohort, tmp_path):
    def key(**steps):
        steps = ImagePreprocessing(**steps)
        return PixelCache.open(cohort.image_paths[:2], size=8, preprocessing=steps, cache_dir=tmp_path / "cache").key

    keys = [key(), key(crop=0.5), key(clahe=2), key(clahe=3), key(resize="pad")]
    assert len(set(keys)) == len(keys)
    assert key(normalise="image") == key()


def test_a_cohort_keeps_its_steps_and_its_fingerprint_tells_them(cohort, store):
    made = cohort.preprocess_images(crop="foreground", clahe=2).preprocess_images(resize="pad", normalise=(0.5, 0.2))
    made = made.preprocess_table(scale="robust", rare=3)
    assert cohort.image_preprocessing == ImagePreprocessing()
    assert (made.image_preprocessing.crop, made.image_preprocessing.resize) == ("foreground", "pad")
    assert made.fingerprint != cohort.fingerprint
    assert "image_preprocessing" not in cohort.roles()
    read = made.save("prepared") and Cohort.load("prepared")
    for other in (read, made.subset(np.arange(20)), made.filter("crp", at_least=0), made.split().train):
        assert other.image_preprocessing == made.image_preprocessing
        assert other.table_preprocessing == made.table_preprocessing
    assert read.fingerprint == made.fingerprint
    for clahe, is_set in ((None, None), (False, None), (True, 2.0)):
        assert made.preprocess_images(clahe=clahe).image_preprocessing.clahe == is_set
    shown, plain = made._repr_html_(), cohort._repr_html_()
    assert "Images preprocessed: crop foreground, clahe 2.0, resize pad" in shown
    assert "preprocessed" not in plain
    assert shown.split("<img", 1)[1] != plain.split("<img", 1)[1]  # thumbnails are what a model sees


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ({"clahe": 0.5}, r"clahe=0\.5: .*a number from 1 to 40.*limit of the contrast"),
        ({"crop": "lesion"}, "crop='lesion': .*foreground"),
        ({"crop": (0.5, 0, 0.2, 1)}, "left must be below right"),
        ({"size": 12}, "size=12: there is no such setting; there are crop, clahe"),
        ({"normalise": (0.5, 0)}, "normalise=.*above 0"),
        ({"window": "lung"}, "window"),
    ],
)
def test_what_is_not_allowed_is_said(cohort, steps, said):
    with pytest.raises(CohortError, match=said):
        cohort.preprocess_images(**steps)


@pytest.mark.parametrize("steps", [{"clahe": 2}, {"resize": "pad"}, {"crop": BOX}, {"normalise": "imagenet"}])
def test_steps_of_flat_images_are_refused_for_volumes(tmp_path, steps):
    np.save(tmp_path / "v.npy", np.zeros((9, 9, 9), np.float32))
    frame = pd.DataFrame({"image": ["v.npy"] * 4, "y": [0, 1] * 2})
    volumes = mf.Cohort(frame, target="y", image="image", image_root=tmp_path)
    with pytest.raises(CohortError, match=f"{next(iter(steps))}=.* is of flat images"):
        volumes.preprocess_images(**steps)
    made = volumes.preprocess_images(crop=0.8, normalise="image", window=(0, 1))
    assert (made.image_preprocessing.crop, made.window, made.roles()["window"]) == (0.8, (0, 1), [0, 1])


def test_what_a_cohort_has_not_is_not_preprocessed():
    frame = pd.DataFrame({"y": [0, 1]})
    with pytest.raises(CohortError, match="no image column"):
        mf.Cohort(frame, target="y").preprocess_images(clahe=2)
    with pytest.raises(CohortError, match="no table to preprocess"):
        mf.Cohort(frame, target="y").preprocess_table(rare=2)


def test_without_scikit_image_clahe_says_how_to_get_it(cohort, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage.exposure", None)
    with pytest.raises(CohortError, match=r"pip install 'medfusion-jupyter\[clahe\]'"):
        cohort.preprocess_images(clahe=2)


def table(numbers, names=None, **how):
    frame = pd.DataFrame({"n": numbers, "c": names or ["a"] * len(numbers), "y": [0, 1] * (len(numbers) // 2)})
    return mf.Cohort(frame, target="y", numeric=["n"], categorical=["c"]).preprocess_table(**how)


def test_missing_numbers_are_filled_as_was_chosen():
    numbers = [0.0, 0, 0, 10, np.nan, np.nan]
    for impute, filled in (("median", 0), ("mean", 2.5), (7, 7)):
        cohort = table(numbers, impute=impute)
        encoder = TableEncoder.fit(cohort)
        scaled = encoder.transform(cohort).numeric
        column = encoder.columns[0]
        assert scaled[4, 0] * column.spread + column.centre == pytest.approx(filled, abs=1e-6)
        assert list(scaled[:, 1]) == [0, 0, 0, 0, 1, 1]
    assert TableEncoder.fit(table(numbers, indicators=False)).num_features == 1


def test_outliers_are_held_at_the_quantiles_of_training():
    numbers = [*map(float, range(99)), 1e6]
    encoder = TableEncoder.fit(table(numbers, outliers=0.05, clip=1000))
    scaled = encoder.transform(table([1e9, -1e9, 50.0, 94.0], outliers=0.05)).numeric[:, 0]
    assert scaled.max() == pytest.approx(scaled[3], abs=0.02)
    assert scaled.min() > -2
    assert np.ptp(TableEncoder.fit(table(numbers)).transform(table(numbers)).numeric[:99]) < 0.01  # swamped without


def test_each_scale_makes_of_a_column_what_it_says():
    rng = np.random.default_rng(0)
    skewed = [*rng.lognormal(0, 2, 2000)]
    made = {}
    for scale in ("standard", "robust", "quantile"):
        cohort = table(skewed, scale=scale, clip=1000)
        made[scale] = TableEncoder.fit(cohort).transform(cohort).numeric[:, 0]
    assert (made["standard"].mean(), made["standard"].std()) == pytest.approx((0, 1), abs=1e-4)
    quarters = np.quantile(made["robust"], [0.25, 0.5, 0.75])
    assert (quarters[1], quarters[2] - quarters[0]) == pytest.approx((0, 1.349), abs=1e-3)
    assert np.quantile(made["quantile"], [0.025, 0.5, 0.975]) == pytest.approx([-1.96, 0, 1.96], abs=0.01)
    assert (np.diff(made["quantile"][np.argsort(skewed)]) >= 0).all()


def test_ties_share_the_middle_of_their_ranks():
    cohort = table([0.0] * 60 + [*map(float, range(1, 41))], scale="quantile")
    scaled = TableEncoder.fit(cohort).transform(cohort).numeric[:, 0]
    assert scaled[0] == pytest.approx(-0.53, abs=0.03)  # the middle of the first 60 %
    assert (np.diff(scaled[59:]) > 0).all()


def test_scaled_numbers_are_held_within_the_clip():
    encoder = TableEncoder.fit(table([0.0, 1, 2, 3], clip=2))
    assert list(encoder.transform(table([1e9, -1e9])).numeric[:, 0]) == [2, -2]


def test_rare_categories_become_one_that_stands_for_those_never_seen():
    cohort = table([0.0] * 8, ["a"] * 3 + ["b"] * 3 + ["c", "d"], rare=2)
    encoder = TableEncoder.fit(cohort)
    assert encoder.cardinalities == (4,)
    codes = encoder.transform(table([0.0] * 6, ["a", "b", "c", "d", "never", None])).codes[:, 0]
    assert list(codes) == [1, 2, 3, 3, 3, 0]
    assert TableEncoder.fit(table([0.0] * 4, ["a"] * 2 + ["b"] * 2, rare=2)).cardinalities == (3,)


def test_the_fitted_encoding_is_kept_and_one_of_before_is_read():
    cohort = table([1.0, 2, 3, np.nan], ["a", "a", "b", None], outliers=0.1, scale="quantile", rare=2)
    encoder = TableEncoder.fit(cohort)
    assert TableEncoder.from_json(encoder.to_json()) == encoder
    card = TableEncoder.fit(table([1.0, 2, 3, np.nan])).to_json()
    former = {"fill": "median", "centre": "mean", "spread": "std"}
    old = {former.get(k, k): v for k, v in card["columns"][0].items() if k not in ("bounds", "knots", "clip")}
    read = TableEncoder.from_json({"columns": [old], "categories": card["categories"]})
    assert read == TableEncoder.from_json(card)
