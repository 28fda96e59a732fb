"""Cohorts of volumes and of CT: decoded at one size and spacing, through one window, trained on and predicted for."""

import warnings

import nibabel
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from dicom_files import write_dicom, write_series

import medfusion as mf
from medfusion_jupyter.data import CohortError, PixelCache
from medfusion_jupyter.data.augment import augment
from medfusion_jupyter.data.volumes import decode_volume
from medfusion_jupyter.nn import monai_encoders
from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.store import open_store
from medfusion_jupyter.training import ConfigError, JobFailed

ROWS = 24
SIZE = (8, 12, 10)
TINY = {"image_encoder": "light_cnn_3d", "image_size": SIZE, "epochs": 1, "batch_size": 6, "device": "cpu"}
NOTHING = {"flip": 0, "rotate": 0, "translate": 0, "scale": 0, "brightness": 0, "contrast": 0}


def nifti(path, values, spacing=(1.0, 1.0, 1.0)):
    """Write values (D, H, W), which go to the head, the back and the left, as NIfTI; spacing None leaves the affine out."""
    affine = None if spacing is None else np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.asarray(values).transpose(2, 1, 0), affine), path)
    return path


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    rng = np.random.default_rng(0)
    for row in range(ROWS):
        values = rng.normal(-600 + 300 * (row % 2), 100, (9, 14, 12)).astype(np.int16)
        nifti(folder / f"s{row}.nii.gz", values)
    return folder, pd.DataFrame(
        {"ill": np.arange(ROWS) % 2, "scan": [f"s{k}" for k in range(ROWS)], "age": rng.normal(60, 9, ROWS)}
    )


@pytest.fixture
def cohort(scans, medfusion_home):
    folder, frame = scans

    def make(table=frame, **more):
        return mf.Cohort(table, target="ill", image="scan", image_root=folder, numeric=["age"], **more)

    return make


def test_volumes_train_resume_and_predict_with_one_missing(cohort, scans):
    folder, frame = scans
    whole = cohort(window="lung")
    assert whole.dimensions == 3
    job = mf.train(whole, fusion="cross_attention", augment=True, **{**TINY, "epochs": 2}).wait()
    model = job.model
    assert model.spec.image_size == SIZE
    assert model.spec.roles["window"] == [-1350.0, 150.0]
    assert open_store().models.get_by_name(job.record.name).input_shape == [1, *SIZE]
    cut = mf.train(whole, callbacks=[FailsInItsSecondEpoch()], fusion="cross_attention", **{**TINY, "epochs": 2})
    with pytest.raises(JobFailed, match="cut off"):
        cut.wait()
    again = mf.resume(cut.job_id).wait()
    assert again.history["train/loss"].tolist() == job.history["train/loss"].tolist()
    predicted = model.predict(whole)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lacking = model.predict(frame.drop(columns="ill").assign(scan=[None, *frame["scan"][1:]]), image_root=folder)
    assert np.isfinite(lacking.to_numpy()).all()
    assert not np.allclose(lacking.loc[0], predicted.loc[0])
    assert np.allclose(lacking.loc[1:], predicted.loc[1:], atol=1e-6)


def test_a_network_of_monai_trains_and_is_frozen_and_loaded_by_its_name(cohort):
    pytest.importorskip("monai", reason="MONAI is not installed")
    of_monai = {**TINY, "image_encoder": "monai_resnet10", "image_size": (16, 16, 16)}
    job = mf.train(cohort(), **of_monai).wait()
    assert job.model.module.architecture.image_encoder == "monai_resnet10"
    frozen = mf.train(
        cohort(),
        image_weights=job.job_id,
        freeze=["image_encoder"],
        augment=False,
        fusion="cross_attention",
        **of_monai,
    )
    trained, kept = (one.model.module.image_encoder.state_dict() for one in (job, frozen.wait()))
    assert all(torch.equal(trained[name], kept[name]) for name, _ in job.model.module.image_encoder.named_parameters())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image_encoder": "monai_resnet18", "image_weights": "default"}, "Give a file of MedicalNet's"),
        ({"image_encoder": "monai_resnet18", "image_weights": "x.pth"}, "'x.pth' is no file"),
        ({"image_encoder": "monai_densenet121", "image_weights": "x.pth"}, "nobody publishes weights of 'monai_dense"),
        ({"image_encoder": "monai_resnet18", "image_size": 32}, "takes volumes"),
        ({"image_encoder": "monai_resnet19"}, "Did you mean 'monai_resnet18'"),
    ],
)
def test_what_a_network_of_monai_cannot_be_is_refused_before_a_job_is_stored(cohort, settings, said):
    with pytest.raises(ConfigError, match=said):
        mf.train(cohort(), **{**TINY, "image_size": (32, 32, 32), **settings})
    assert not open_store().jobs.list().items


def test_without_monai_its_networks_are_refused_with_what_to_install(cohort, monkeypatch):
    monkeypatch.setattr(monai_encoders, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'medfusion-jupyter\[monai\]'"):
        mf.train(cohort(), **{**TINY, "image_encoder": "monai_resnet18"})
    assert not open_store().jobs.list().items


class FailsInItsSecondEpoch(mf.Callback):
    essential = True

    def epoch_start(self, state):
        if state.epoch == 2:
            raise RuntimeError("cut off")


def test_the_window_of_the_training_cohort_is_that_of_prediction(cohort, scans):
    folder, frame = scans
    model = mf.train(cohort(window=(-1000, 0)), **TINY).wait().model
    assert np.array_equal(model.predict(cohort(window="bone")), model.predict(frame, image_root=folder))
    narrow = PixelCache.open(cohort().image_paths, size=SIZE, window=(-700, -650), cache_dir=folder / "a").pixels
    wide = PixelCache.open(cohort().image_paths, size=SIZE, window=(-5000, 5000), cache_dir=folder / "a").pixels
    assert narrow.std() > 4 * wide.std()


def test_a_ct_of_files_is_seen_through_the_window_of_its_cohort(tmp_path, medfusion_home):
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    for k in range(8):
        write_dicom(tmp_path / f"c{k}.dcm", np.full((8, 8), 1024 + 10 * k, np.uint16), **ct)
    frame = pd.DataFrame({"ill": [0, 1] * 4, "film": [f"c{k}" for k in range(8)]})
    made = {"target": "ill", "image": "film", "image_root": tmp_path}
    pixels = PixelCache.open(
        mf.Cohort(frame, **made).image_paths, size=8, window=(0, 70), cache_dir=tmp_path / "cache"
    ).pixels
    assert np.allclose(pixels[:, 0, 0, 0] / 65535, np.arange(8) / 7, atol=0.01)
    assert mf.Cohort(frame, window="brain", **made).window == (0, 80)
    for window, words in (("lungs", "no window 'lungs'. Did you mean 'lung'"), ((5, 5), r"must be \(low, high\)")):
        with pytest.raises(CohortError, match=words):
            mf.Cohort(frame, window=window, **made)
    write_dicom(tmp_path / "cr.dcm", np.full((8, 8), 5, np.uint16))
    with pytest.warns(UserWarning, match=r"the file \(DICOM CR\) is not in Hounsfield units"):
        PixelCache.open([tmp_path / "cr.dcm"], size=8, window=(0, 70), cache_dir=tmp_path / "cache")


def test_a_window_of_pictures_is_refused(tmp_path):
    from PIL import Image

    for k in range(4):
        Image.fromarray(np.full((8, 8), k, np.uint8)).save(tmp_path / f"p{k}.png")
    frame = pd.DataFrame({"ill": [0, 1, 0, 1], "film": [f"p{k}" for k in range(4)]})
    with pytest.raises(CohortError, match=r"window=.* is of CT in Hounsfield units, and p0\.png is a picture"):
        mf.Cohort(frame, target="ill", image="film", image_root=tmp_path, window="lung")


def test_an_encoder_of_other_dimensions_is_refused_by_name(cohort, medfusion_home):
    flat = mf.synthetic_cohort(n=60, seed=0, image_size=16)
    for data, settings, words in (
        (flat, TINY, "images of the cohort are flat, and image_encoder='light_cnn_3d'"),
        (cohort(), {"image_encoder": "light_cnn", "image_size": 16}, "are volumes, and image_encoder='light_cnn'"),
        (cohort(), {**TINY, "image_encoder": "resnet18"}, "image_encoder='resnet18' takes images, and image_size="),
        (flat, {"image_encoder": "r3d_18", "image_size": 16}, "image_encoder='r3d_18' takes volumes"),
        (flat, {"image_encoder": "light_cnn", "spacing": 1.0}, r"spacing=1\.0 is of volumes"),
        (cohort(), {**TINY, "image_size": (8, 8)}, r"image_size=\(8, 8\)"),
        (cohort(), {**TINY, "spacing": -1}, "spacing=-1"),
    ):
        with pytest.raises(ConfigError, match=words):
            mf.train(data, **settings)


def test_a_volume_is_stretched_to_its_size_or_cut_around_its_centre(tmp_path):
    values = np.zeros((8, 16, 16), np.float32)
    values[2:6, 4:12, 4:12] = 1.0
    path = nifti(tmp_path / "v.nii.gz", values, spacing=(2.0, 1.0, 1.0))
    stretched, spacing = decode_volume(path, size=(4, 8, 8), window=(0, 1))
    assert spacing == (2.0, 1.0, 1.0)
    assert stretched.shape == (1, 4, 8, 8)
    assert stretched.dtype == np.uint16
    assert np.array_equal(stretched[0] > 32768, np.pad(np.ones((2, 4, 4), bool), ((1, 1), (2, 2), (2, 2))))
    # in mm the bright block is 8 a side, a cube
    cut, _ = decode_volume(path, size=(10, 10, 10), spacing=1.0, window=(0, 1))
    bright = cut[0] > 32768
    assert [int(bright.any(axis=axes).sum()) for axes in ((1, 2), (0, 2), (0, 1))] == [8, 8, 8]
    filled, _ = decode_volume(path, size=(24, 24, 24), spacing=1.0, window=(0, 1))
    assert (filled[0][:4] == 0).all()
    assert (filled[0] > 32768).sum() == bright.sum()


def test_a_series_of_slices_is_the_volume_that_its_nifti_is(tmp_path):
    values = np.random.default_rng(0).integers(-1000, 400, (6, 8, 8)).astype(np.int16)
    write_series(tmp_path / "ct", values)
    nifti(tmp_path / "ct.nii.gz", values, spacing=(2.5, 0.5, 0.75))
    how = {"size": (6, 8, 8), "window": (-1000.0, 400.0)}
    one, other = decode_volume(tmp_path / "ct", **how), decode_volume(tmp_path / "ct.nii.gz", **how)
    assert np.array_equal(one[0], other[0])
    assert np.allclose(one[1], other[1])


@pytest.mark.parametrize("kind", ["NIfTI", "TIFF"])
def test_volumes_of_several_channels_train_and_predict(tmp_path, medfusion_home, kind):
    rng = np.random.default_rng(0)
    suffix = ".nii.gz" if kind == "NIfTI" else ".tif"

    def write(name, channels=3):
        values = rng.integers(0, 255, (9, 8, 7, 1, channels)).astype(np.uint8)
        if kind == "NIfTI":
            nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / (name + suffix))
        else:
            slices = np.ascontiguousarray(values[:, :, :, 0].transpose(2, 3, 1, 0))
            tifffile.imwrite(tmp_path / (name + suffix), slices, metadata={"axes": "ZCYX"}, photometric="minisblack")

    for row in range(ROWS):
        write(f"s{row}")
    frame = pd.DataFrame({"ill": np.arange(ROWS) % 2, "scan": [f"s{k}" for k in range(ROWS)]})
    cohort = mf.Cohort(frame, target="ill", image="scan", image_root=tmp_path)
    assert cohort.dimensions == 3
    assert not cohort.check().of("images")
    model = mf.train(cohort, **TINY).wait().model
    assert model.spec.channels == 3
    assert len(model.spec.mean) == 3
    assert np.isfinite(model.predict(cohort).to_numpy()).all()
    write("s2", channels=1)
    (found,) = [one for one in cohort.check().of("images") if one.where == "channels"]
    assert "1 (as row 2) and 3 (as row 0)" in found.what
    with pytest.raises(CohortError, match="There are images of 1 and 3 channels; the model takes 3"):
        model.predict(cohort)


def test_mixed_spacing_is_said_unless_it_is_made_alike(tmp_path):
    paths = [nifti(tmp_path / f"v{k}.nii.gz", np.ones((4, 6, 6), np.int16), (1.0 + 2 * k, 1, 1)) for k in range(2)]
    with pytest.warns(UserWarning, match="spacing of the volumes is mixed: 1 to 3 mm between slices.*set spacing"):
        PixelCache.open(paths, size=(8, 8, 8), cache_dir=tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PixelCache.open(paths, size=(8, 8, 8), spacing=(1.0, 1.0, 1.0), cache_dir=tmp_path)


def test_a_volume_that_cannot_be_used_is_absent_and_the_reason_is_said(tmp_path):
    good = nifti(tmp_path / "good.nii.gz", np.ones((4, 6, 6), np.int16))
    no_affine = nifti(tmp_path / "secret.nii.gz", np.ones((4, 6, 6), np.int16), spacing=None)
    np.save(tmp_path / "array.npy", np.ones((4, 6, 6), np.float32))
    np.save(tmp_path / "flat.npy", np.ones((6, 6), np.float32))
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:60])
    for path, spacing, words in (
        (no_affine, None, "the file has no affine"),
        (tmp_path / "array.npy", 1.0, "does not say how far apart its voxels are"),
        (tmp_path / "flat.npy", None, "the file is an image, and volumes are needed"),
        (cut, None, "not a NIfTI file that is whole|cut short or damaged"),
    ):
        with pytest.warns(UserWarning, match=words) as said:
            cache = PixelCache.open([good, path], size=(8, 8, 8), spacing=spacing, cache_dir=tmp_path)
        assert cache.slots.tolist() == [0, -1]
        assert not any("secret" in str(one.message) for one in said)  # a file may be named after a patient


def test_volumes_are_changed_each_by_its_own_parameters():
    volumes = torch.randn(4, 1, 6, 8, 10, generator=torch.Generator().manual_seed(0))
    g = torch.Generator().manual_seed(1)
    assert torch.equal(augment(volumes, Augmentation(**NOTHING), g), volumes)
    flipped = augment(volumes, Augmentation(**{**NOTHING, "flip": 1}), g)
    assert torch.allclose(flipped, volumes.flip(4), atol=1e-5)  # left and right alone
    turned = augment(volumes[:1].expand(4, -1, -1, -1, -1), Augmentation(**{**NOTHING, "rotate": 30}), g)
    assert len({round(float(one.sum()), 4) for one in turned}) == 4
    brighter = augment(volumes, Augmentation(**{**NOTHING, "brightness": 1}), g) - volumes
    assert torch.allclose(brighter, brighter[:, :, :1, :1, :1].expand_as(brighter), atol=1e-5)
    one = augment(volumes, Augmentation(), torch.Generator().manual_seed(5))
    part = augment(volumes[1:3], Augmentation(), torch.Generator().manual_seed(5), (slice(1, 3), 4))
    assert torch.allclose(one[1:3], part, atol=1e-6)


def test_a_turn_keeps_distances_in_a_volume_that_is_no_cube():
    z, y, x = (torch.arange(n) - (n - 1) / 2 for n in (13, 17, 25))
    radius = (z[:, None, None] ** 2 + y[None, :, None] ** 2 + x**2).sqrt()
    ball = (5 - radius).clamp(0, 1)[None, None].expand(6, -1, -1, -1, -1)
    turned = augment(ball, Augmentation(**{**NOTHING, "rotate": 180}), torch.Generator().manual_seed(3))
    assert (turned - ball).abs().mean() < 0.01
    moved = augment(ball, Augmentation(**{**NOTHING, "translate": 0.2}), torch.Generator().manual_seed(3))
    assert (moved - ball).abs().mean() > 0.02


def test_a_cohort_of_volumes_shows_slices_and_is_looked_into_by_the_checks(cohort, scans, tmp_path):
    _, frame = scans
    shown = cohort(window="lung")._repr_html_()
    assert shown.count("<img") == 4
    assert "24 volumes" in shown
    said = cohort().check()
    assert not [one for one in said.of("images") if one.where == "unreadable files"]
    for k in range(8):
        spacing = (1.0 if k % 2 else 5.0, 1.0, 1.0)
        nifti(tmp_path / f"s{k}.nii.gz", np.random.default_rng(k).normal(0, 50, (4, 8, 8)).astype(np.int16), spacing)
    mixed = mf.Cohort(frame[:8], target="ill", image="scan", image_root=tmp_path)
    found = [one for one in mixed.check().of("images") if one.where == "pixel spacing"]
    assert "Slices are between 1 and 5 mm" in found[0].what
    assert "spacing=" in found[0].fix
