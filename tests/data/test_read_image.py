"""Images are read as they were measured, in one orientation, and what cannot be read is refused with the reason."""

import warnings

import nibabel
import numpy as np
import pytest
import tifffile
from dicom_files import write_dicom, write_series
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.uid import JPEG2000Lossless

import medfusion as mf
from medfusion_jupyter.data import ImageError
from medfusion_jupyter.data.image_files import decode, header_of, is_volume, kind_of
from medfusion_jupyter.data.readers.geometry import canonical, resampled
from medfusion_jupyter.data.readers.medical_image import MedicalImage

RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60


def volume():
    """(D, H, W) HU, each place with a value of its own."""
    return np.arange(4 * 5 * 6).reshape(4, 5, 6) * 10 - 500


def test_a_ct_is_in_hounsfield_units(tmp_path):
    path = write_dicom(
        tmp_path / "a.dcm", RAMP, Modality="CT", RescaleSlope=2, RescaleIntercept=-1000, PixelSpacing=[0.4, 0.6]
    )
    image = mf.read_image(path)
    assert (image.unit, image.kind, image.spacing) == ("HU", "DICOM CT", (0.4, 0.6))
    assert image.pixels.shape == (1, 8, 8)
    assert np.array_equal(image.pixels[0], RAMP * 2.0 - 1000)


def test_the_file_s_own_window_is_that_of_the_standard_and_another_can_be_chosen(tmp_path):
    path = write_dicom(
        tmp_path / "a.dcm",
        RAMP,
        Modality="CT",
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=[40, -600],
        WindowWidth=[400, 1500],
    )
    assert mf.read_image(path).window == (-160, 239)
    assert mf.read_image(path, window="lung").window == (-1350, 150)
    image = mf.read_image(path, window=(-100, 100))
    assert image.window == (-100, 100)
    assert image.shown().min() == 0
    assert image.shown().max() == 1
    with pytest.raises(ImageError, match=r"no window 'lungs'. Did you mean 'lung'"):
        mf.read_image(path, window="lungs")
    with pytest.raises(ImageError, match=r"window=\(0, 0\) must be \(low, high\)"):
        mf.read_image(path, window=(0, 0))
    with pytest.raises(ImageError, match="Hounsfield units, but this DICOM CR image is not"):
        mf.read_image(write_dicom(tmp_path / "b.dcm", RAMP), window="lung")


def test_large_is_bright_whatever_the_photometric_interpretation(tmp_path):
    bits = {"BitsStored": 12}
    two = mf.read_image(write_dicom(tmp_path / "2.dcm", RAMP, **bits))
    one = mf.read_image(write_dicom(tmp_path / "1.dcm", 4095 - RAMP, PhotometricInterpretation="MONOCHROME1", **bits))
    assert two.window == one.window == (0, 4095)
    assert np.allclose(one.shown(), two.shown())


def test_a_signed_image_keeps_its_sign(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", (RAMP.astype(np.int16) - 2000), Modality="MR")
    assert mf.read_image(path).pixels.min() == -2000


def test_colours_and_palettes_are_red_green_blue(tmp_path):
    pixels = np.zeros((4, 5, 3), np.uint8)
    pixels[..., 0], pixels[..., 2] = 200, 50
    image = mf.read_image(write_dicom(tmp_path / "c.dcm", pixels, Modality="XC"))
    assert image.pixels.shape == (3, 4, 5)
    assert image.pixels[:, 0, 0].tolist() == [200, 0, 50]
    assert kind_of(tmp_path / "c.dcm") == (3, False)
    table = np.zeros((3, 256), np.uint8)
    table[0, 7], table[2, 7] = 200, 50
    palette = {
        f"{name}PaletteColorLookupTable{part}": value
        for name, row in zip(("Red", "Green", "Blue"), table, strict=True)
        for part, value in (("Descriptor", [256, 0, 8]), ("Data", row.tobytes()))
    }
    path = write_dicom(
        tmp_path / "p.dcm", np.full((4, 5), 7, np.uint8), PhotometricInterpretation="PALETTE COLOR", **palette
    )
    assert mf.read_image(path).shown()[:, 0, 0] == pytest.approx([200 / 255, 0, 50 / 255], abs=0.01)


def test_several_frames_are_a_volume(tmp_path):
    frames = np.stack([RAMP, RAMP + 1, RAMP + 2])
    path = write_dicom(tmp_path / "f.dcm", frames, PixelSpacing=[0.5, 0.5], SliceThickness=3)
    image = mf.read_image(path)
    assert image.pixels.shape == (1, 3, 8, 8)
    assert image.spacing == (3, 0.5, 0.5)
    with pytest.raises(ImageError, match=r"f\.dcm has 3 frames; a 2D image is needed"):
        kind_of(path)


def test_a_file_without_suffix_is_known_by_its_content(tmp_path):
    assert mf.read_image(write_dicom(tmp_path / "IM0001", RAMP)).kind == "DICOM CR"


def test_a_series_is_sorted_by_position_and_scaled(tmp_path):
    image = mf.read_image(write_series(tmp_path / "ct", volume()))
    assert np.array_equal(image.pixels[0], volume())
    assert image.spacing == pytest.approx((2.5, 0.5, 0.75))
    assert image.kind == "DICOM CT series"
    # the first voxel: DICOM's left and back are NIfTI's right and front, negated
    assert image.affine[:3, 3] == pytest.approx([100, 120, 30])


@pytest.mark.parametrize(
    ("orientation", "back"),
    [
        ((1, 0, 0, 0, 1, 0), lambda v: v),
        ((-1, 0, 0, 0, 1, 0), lambda v: v[::-1, :, ::-1]),
        ((1, 0, 0, 0, 0, -1), lambda v: v.transpose(1, 0, 2)[::-1]),
        ((0, 1, 0, 0, 0, -1), lambda v: v.transpose(1, 2, 0)[::-1, :, ::-1]),
    ],
    ids=["axial", "axial turned", "coronal", "sagittal"],
)
def test_every_series_comes_out_in_the_same_orientation(tmp_path, orientation, back):
    image = mf.read_image(write_series(tmp_path / "s", volume(), orientation=orientation))
    assert np.array_equal(image.pixels[0], back(volume()))
    assert nibabel.aff2axcodes(image.affine) == ("S", "P", "L")


def test_a_series_and_its_nifti_are_the_same_volume(tmp_path):
    image = mf.read_image(write_series(tmp_path / "ct", volume()))
    # as dcm2niix and scanners write it: columns first, to the right and front
    data = volume().transpose(2, 1, 0)[::-1, ::-1].astype(np.int16)
    affine = np.diag([0.75, 0.5, 2.5, 1])
    affine[:3, 3] = [100 - 0.75 * 5, 120 - 0.5 * 4, 30]
    nibabel.save(nibabel.Nifti1Image(data, affine), tmp_path / "v.nii.gz")
    other = mf.read_image(tmp_path / "v.nii.gz")
    assert np.array_equal(other.pixels, image.pixels)
    assert other.affine == pytest.approx(image.affine)
    assert other.spacing == pytest.approx(image.spacing)


def _scout(k, elements):
    return elements | ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]} if k == 0 else {})


def _phases(k, elements):
    return elements | {"SeriesInstanceUID": f"1.2.{k // 2}", "SeriesDescription": f"phase {k // 2}"}


def _lost(k, elements):
    return elements | {"ImagePositionPatient": [-100, -120, 30 + 2.5 * (k + (k > 1))]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_lost, r"2\.5 mm apart, but 5 mm after slice 2 of 4"),
        (lambda k, e: e | {"PixelSpacing": [0.5, 0.75 + k % 2]}, "more than one pixel spacing"),
        (_scout, "more than one orientation"),
        (_phases, "holds 2 series: 'phase 0' .2 files"),
        (lambda k, e: e | {"ImagePositionPatient": [-100, -120, 30 + k // 2]}, "2 slices in s lie where another lies"),
        (lambda k, e: e | {"ImagePositionPatient": None}, "does not say where its slice lies"),
    ],
    ids=["slice missing", "mixed spacing", "scout", "two series", "two phases", "no position"],
)
def test_what_is_not_one_volume_is_refused(tmp_path, change, words):
    with pytest.raises(ImageError, match=words):
        mf.read_image(write_series(tmp_path / "s", volume(), change=change))


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "readme.txt").write_text("nothing")
    with pytest.raises(ImageError, match="no DICOM image in the folder s"):
        mf.read_image(tmp_path / "s")


def test_a_truncated_file_is_named(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    whole = path.read_bytes()
    for keep in (len(whole) - 20, 300, 140):
        path.write_bytes(whole[:keep])
        with pytest.raises(ImageError, match=r"a\.dcm"):
            mf.read_image(path)
    path.write_text("no dicom")
    with pytest.raises(ImageError, match=r"a\.dcm is not DICOM"):
        mf.read_image(path)


def test_a_compression_without_a_decoder_is_named_with_what_to_install(tmp_path, monkeypatch):
    path = write_dicom(tmp_path / "a.dcm", RAMP)
    import pydicom
    from pydicom.encaps import encapsulate

    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEG2000Lossless
    file.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)
    decoder = pydicom.pixels.get_decoder(JPEG2000Lossless)
    # as on a machine where none of the decoder's libraries is installed
    monkeypatch.setattr(decoder, "_available", {})
    with pytest.raises(ImageError, match=r"a\.dcm is compressed as JPEG 2000 .*no decoder .*pip install"):
        mf.read_image(path)


@given(st.permutations([0, 1, 2]), st.lists(st.booleans(), min_size=3, max_size=3), st.integers(1, 4))
def test_turning_to_the_canonical_orientation_moves_no_value_in_space(order, flips, seed):
    rng = np.random.default_rng(seed)
    pixels = rng.random((1, 2, 3, 4)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, order] * np.where(flips, -1, 1) * rng.uniform(0.5, 3, 3)
    affine[:3, 3] = rng.normal(size=3)
    turned, to_mm = canonical(pixels, affine)
    assert nibabel.aff2axcodes(to_mm) == ("S", "P", "L")
    for index in np.ndindex(pixels.shape[1:]):
        place = affine @ [*index, 1]
        there = np.rint(np.linalg.solve(to_mm, place))[:3].astype(int)
        assert turned[(0, *there)] == pixels[(0, *index)]


def _blob(shape, spacing):
    """A smooth volume, sampled at that spacing over the same extent."""
    at = np.meshgrid(*[(np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing, strict=True)], indexing="ij")
    values = np.exp(-sum((x - 16) ** 2 for x in at) / 60)[None].astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.asarray(spacing) / 2
    return MedicalImage(values, spacing, affine, "HU", (0, 1), "test")


@pytest.mark.parametrize("to", [(2.0, 2.0, 2.0), (0.5, 1.0, 2.0), (1.0, 1.0, 1.0)])
def test_resampling_keeps_the_volume_in_its_place(to):
    image = resampled(_blob((32, 32, 32), (1.0, 1.0, 1.0)), to)
    wanted = _blob(image.pixels.shape[1:], to)
    assert image.spacing == wanted.spacing
    assert image.affine == pytest.approx(wanted.affine)
    assert np.abs(image.pixels - wanted.pixels).max() < 0.05


@settings(deadline=None)
@given(st.integers(1, 12), st.floats(0.3, 4), st.floats(-1000, 3000))
def test_resampling_keeps_a_constant(size, to, value):
    image = MedicalImage(np.full((1, size, size), value, np.float32), (1.0, 1.0), None, "HU", (0, 1), "test")
    assert np.allclose(resampled(image, to).pixels, value, rtol=1e-5)


def test_resampling_without_spacing_or_to_nonsense_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", RAMP)
    with pytest.raises(ImageError, match="does not say how far apart"):
        mf.read_image(tmp_path / "a.npy", spacing=1)
    path = write_dicom(tmp_path / "a.dcm", RAMP, PixelSpacing=[1, 1])
    assert mf.read_image(path, spacing=2).pixels.shape == (1, 4, 4)
    for bad in (0, (1, 1, 1), 0.001):
        with pytest.raises(ImageError, match=r"does not fit|at most 1024"):
            mf.read_image(path, spacing=bad)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), None), p), "has no affine"),
        (
            lambda p: nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 7), np.int16), np.eye(4)), p),
            "fourth dimension is time",
        ),
        (
            lambda p: nibabel.save(nibabel.Nifti1Image(np.full((4, 4, 4), np.nan, np.float32), np.eye(4)), p),
            "64 values that",
        ),
        (lambda p: p.write_bytes(b"nothing"), "is not a NIfTI file"),
    ],
    ids=["no affine", "4D", "NaN", "damaged"],
)
def test_nifti_that_cannot_be_right_is_refused(tmp_path, make, words):
    make(tmp_path / "a.nii")
    with pytest.raises(ImageError, match=words):
        mf.read_image(tmp_path / "a.nii")


def test_a_truncated_nifti_is_named(tmp_path):
    path = tmp_path / "a.nii.gz"
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 999, (9, 9, 9)).astype(np.int16), np.eye(4)), path
    )
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=r"a\.nii\.gz are cut short or damaged"):
        mf.read_image(path)


def test_arrays_by_their_shape(tmp_path):
    for name, array, shape, window in (
        ("grey", np.zeros((4, 5), np.uint8), (1, 4, 5), (0, 255)),
        ("deep", np.zeros((4, 5), np.uint16), (1, 4, 5), (0, 65535)),
        ("colour", np.zeros((4, 5, 3), np.uint8), (3, 4, 5), (0, 255)),
        ("channels", np.zeros((8, 6, 5), np.uint8), (5, 8, 6), (0, 255)),
        ("volume", np.zeros((6, 4, 5), np.float32), (1, 6, 4, 5), (0, 1)),
        ("thin", np.zeros((20, 20, 17), np.float32), (1, 20, 20, 17), (0, 1)),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        np.savez(tmp_path / f"{name}.npz", image=array)
        for suffix in ("npy", "npz"):
            image = mf.read_image(tmp_path / f"{name}.{suffix}")
            assert (image.pixels.shape, image.window) == (shape, window), name


def test_arrays_that_are_no_image_are_refused_and_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "v.npy", np.zeros(5))
    np.save(tmp_path / "n.npy", np.full((3, 3), np.inf))
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    (tmp_path / "t.npz").write_bytes(b"PK\x03\x04 no")
    for name in ("o.npy", "v.npy", "n.npy", "two.npz", "t.npz"):
        with pytest.raises(ImageError, match=name.replace(".", r"\.")):
            mf.read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_pillow_s_formats(tmp_path, suffix):
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    image = mf.read_image(tmp_path / f"a.{suffix}")
    assert np.array_equal(image.pixels[0], pixels)
    assert np.array_equal(decode(tmp_path / f"a.{suffix}", size=8, channels=1, deep=False).shape, (1, 8, 8))


def test_a_float_tiff_and_a_deep_one_are_not_clipped(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "f.tif")
    Image.fromarray(np.full((8, 8), 30000, np.uint16)).save(tmp_path / "d.tif")
    for name, value in (("f.tif", 32768), ("d.tif", 30000)):
        assert kind_of(tmp_path / name) == (1, True)
        assert decode(tmp_path / name, size=4, channels=1, deep=True)[0, 0, 0] == pytest.approx(value, abs=1)


PAGES = np.arange(4 * 6 * 5, dtype=np.uint16).reshape(4, 6, 5)


@pytest.mark.parametrize("how", [{"ome": True}, {"imagej": True}, {}], ids=["OME", "ImageJ", "tifffile"])
def test_pages_of_a_tiff_are_the_slices_or_the_channels_that_it_says(tmp_path, how):
    how |= {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "z.tif", PAGES, metadata={"axes": "ZYX"}, **how)
    tifffile.imwrite(tmp_path / "c.tif", PAGES, metadata={"axes": "CYX"}, **how)
    tifffile.imwrite(tmp_path / "zc.tif", np.stack([PAGES, PAGES + 1], axis=1), metadata={"axes": "ZCYX"}, **how)
    slices, channels, both = (mf.read_image(tmp_path / f"{name}.tif") for name in ("z", "c", "zc"))
    assert np.array_equal(slices.pixels, PAGES[None])
    assert np.array_equal(channels.pixels, PAGES)
    assert np.array_equal(both.pixels, [PAGES, PAGES + 1])
    assert slices.window == (0, 65535)
    assert kind_of(tmp_path / "c.tif") == (4, True)
    assert is_volume(tmp_path / "z.tif")
    assert not is_volume(tmp_path / "c.tif")
    with pytest.raises(ImageError, match=r"z\.tif is a volume of 4 slices; a 2D image is needed"):
        kind_of(tmp_path / "z.tif")


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_samples_of_a_tiff_are_its_channels(tmp_path, planar, dtype):
    values = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (3, 6, 5)).astype(dtype)
    stored = values if planar == "separate" else np.moveaxis(values, 0, -1)
    tifffile.imwrite(tmp_path / "rgb.tif", np.ascontiguousarray(stored), photometric="rgb", planarconfig=planar)
    image = mf.read_image(tmp_path / "rgb.tif")
    assert np.array_equal(image.pixels, values)
    assert image.window == (0, np.iinfo(dtype).max)
    assert kind_of(tmp_path / "rgb.tif") == (3, dtype == np.uint16)


def test_pages_of_a_tiff_that_does_not_say_what_they_are_are_refused_with_what_to_do(tmp_path):
    page = Image.fromarray(np.zeros((8, 8), np.uint8))
    page.save(tmp_path / "p.tif", save_all=True, append_images=[page, page])
    grey = {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "q.tif", PAGES, **grey)
    tifffile.imwrite(tmp_path / "t.tif", PAGES, metadata={"axes": "TYX"}, **grey)
    tifffile.imwrite(tmp_path / "cut.tif", PAGES, metadata={"axes": "ZYX"}, **grey)
    page.save(tmp_path / "two.tif", save_all=True, append_images=[page.resize((9, 3))])
    for name, words in (
        ("p", r"p\.tif has 3 pages, and does not say whether they are slices or channels.*'ZYX'.*'CYX'"),
        ("q", r"q\.tif has 4 pages, and does not say"),
        ("two", r"two\.tif has 2 images that are not alike"),
        ("t", r"t\.tif has the axes TYX of 4 x 6 x 5; an image has Y and X"),
    ):
        with pytest.raises(ImageError, match=words):
            mf.read_image(tmp_path / f"{name}.tif")
    content = (tmp_path / "cut.tif").read_bytes()
    for keep in (len(content) // 2, 200):
        (tmp_path / "cut.tif").write_bytes(content[:keep])
        with pytest.raises(ImageError, match=r"cut\.tif"):
            mf.read_image(tmp_path / "cut.tif")


def test_the_fifth_dimension_of_a_nifti_holds_channels(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (5, 6, 4, 1, 3)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "v.nii.gz")
    image = mf.read_image(tmp_path / "v.nii.gz")
    assert image.pixels.shape == (3, 4, 6, 5)
    for channel in range(3):
        alone = nibabel.Nifti1Image(values[..., 0, channel], np.diag([-1.0, -1.0, 1.0, 1.0]))
        nibabel.save(alone, tmp_path / "alone.nii.gz")
        assert np.array_equal(mf.read_image(tmp_path / "alone.nii.gz").pixels[0], image.pixels[channel])
    nibabel.save(nibabel.Nifti1Image(values[:, :, :1], np.eye(4)), tmp_path / "flat.nii.gz")
    assert mf.read_image(tmp_path / "flat.nii.gz").pixels.shape == (3, 6, 5)
    assert kind_of(tmp_path / "flat.nii.gz") == (3, True)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"no file or folder .*none\.dcm"):
        mf.read_image(tmp_path / "none.dcm")


# in a cohort


@pytest.fixture
def dicom_cohort(tmp_path, frame):
    folder = tmp_path / "dicom"
    folder.mkdir()
    for k in range(8):
        write_dicom(folder / f"i{k}.dcm", RAMP + 100 * k, BitsStored=12, PixelSpacing=[0.2, 0.2])
    return lambda **roles: mf.Cohort(
        frame, **{"target": "icu", "image": "film", "image_root": folder, "patient": "who", **roles}
    )


def test_a_dicom_column_is_decoded_like_a_png_column(dicom_cohort, tmp_path):
    cohort = dicom_cohort()
    assert all(path.suffix == ".dcm" for path in cohort.image_paths)
    pixels = decode(cohort.image_paths[3], size=8, channels=1, deep=True)
    assert pixels.dtype == np.uint16
    assert np.allclose(pixels[0], (RAMP + 300) / 4095 * 65535, atol=1)
    assert header_of(cohort.image_paths[0]).spacing == (0.2, 0.2)
    assert cohort._repr_html_().count("<img") == 8
    assert "secret" not in cohort._repr_html_()


def test_a_ct_means_the_same_in_every_image_of_a_cohort(tmp_path):
    # whatever window a technician chose
    ct = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}
    for name, centre in (("a", -600), ("b", 400)):
        write_dicom(tmp_path / f"{name}.dcm", RAMP, WindowCenter=centre, WindowWidth=500, **ct)
    a, b = (decode(tmp_path / f"{name}.dcm", size=8, channels=1, deep=True) for name in "ab")
    assert np.array_equal(a, b)


def test_wrong_spacing_is_found_before_training(dicom_cohort, tmp_path):
    write_dicom(tmp_path / "dicom" / "i3.dcm", RAMP, BitsStored=12, PixelSpacing=[1.4, 1.4])
    found = [one for one in dicom_cohort().check().of("images") if one.where == "pixel spacing"]
    assert "between 0.2 and 1.4 mm" in found[0].what


def test_a_cohort_knows_volumes_from_images(tmp_path, frame, dicom_cohort):
    for k in range(8):
        write_series(tmp_path / "ct" / f"i{k}", volume())
    assert mf.Cohort(frame, target="icu", image="film", image_root=tmp_path / "ct").dimensions == 3
    assert dicom_cohort().dimensions == 2


def test_a_name_may_leave_out_a_double_suffix(tmp_path, frame):
    for k in range(8):
        nibabel.save(nibabel.Nifti1Image(np.full((6, 5, 1), k, np.int16), np.eye(4)), tmp_path / f"i{k}.nii.gz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cohort = mf.Cohort(frame, target="icu", image="film", image_root=tmp_path)
    assert cohort.image_paths[2].name == "i2.nii.gz"
    assert header_of(cohort.image_paths[2]).size == (5, 6)


def test_a_dicom_column_trains(dicom_cohort):
    cohort = dicom_cohort(numeric=["crp"])
    split = cohort.split(test=0.25, val=0.25)
    job = mf.train(split, image_encoder="light_cnn", image_size=16, epochs=1, batch_size=4, device="cpu").wait()
    assert job.status == "completed", job.record.error
    assert job.model.spec.channels == 1
    assert len(job.model.predict(split.test)) == 2
