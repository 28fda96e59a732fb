"""Data that cannot be learned from as they are, through the front door: made into a cohort of real files, checked and trained.

Each ends in a word that says which rows or which column, what is allowed and what to do: at once where the table says it, in the
check, or as the job's own last word. What the readers say of a single file is in `tests/data/test_read_image.py`.
"""

import warnings

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
from dicom_files import write_dicom, write_series
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless

import medfusion as mf
from medfusion_jupyter.data import CohortError, Split
from medfusion_jupyter.store import home, open_store
from medfusion_jupyter.store.durable_files import TEMPORARY
from medfusion_jupyter.training import ConfigError, JobFailed

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no image", "ignore:Columns without any value")

ROWS = 24
FLAT = {"image_encoder": "light_cnn", "image_size": 8, "epochs": 1, "batch_size": 6, "device": "cpu"}
VOLUMES = {**FLAT, "image_encoder": "light_cnn_3d", "image_size": (8, 8, 8)}
LABEL = np.arange(ROWS) % 2
RAMP = np.arange(64, dtype=np.uint16).reshape(8, 8) * 60


@pytest.fixture
def cohort(tmp_path, medfusion_home):
    """A cohort of ROWS patients whose images lie in `tmp_path/images`, each named as a patient may be: secret-0 and so on."""

    def make(names="secret-{}", columns=None, **roles):
        rng = np.random.default_rng(0)
        paths = [names.format(k) for k in range(ROWS)] if isinstance(names, str) else names
        own = {
            "film": paths,
            "ill": LABEL,
            "age": rng.normal(60, 9, ROWS),
            "who": [f"patient-{k}" for k in range(ROWS)],
        }
        frame = pd.DataFrame({**own, **(columns or {})})
        usual = {
            "target": "ill",
            "patient": "who",
            "image": "film",
            "image_root": folder_of(tmp_path),
            "numeric": ["age"],
        }
        return mf.Cohort(frame, **{**usual, **roles})

    return make


def folder_of(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def films(tmp_path):
    """PNG files that differ."""
    rng = np.random.default_rng(0)
    for k in range(ROWS):
        Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).save(folder_of(tmp_path) / f"secret-{k}.png")
    return folder_of(tmp_path)


@pytest.fixture
def dicoms(tmp_path):
    for k in range(ROWS):
        write_dicom(folder_of(tmp_path) / f"secret-{k}.dcm", RAMP + 20 * k)
    return folder_of(tmp_path)


@pytest.fixture
def niftis(tmp_path):
    """Volumes; `write(row, spacing)` writes one anew."""
    rng = np.random.default_rng(0)

    def write(row, spacing=(1.0, 1.0, 1.0)):
        affine = None if spacing is None else np.diag([*spacing[::-1], 1.0])
        values = rng.normal(300 * LABEL[row], 100, (6, 6, 4)).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(values, affine), folder_of(tmp_path) / f"secret-{row}.nii.gz")

    for row in range(ROWS):
        write(row)
    return write


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])


def compress(path):
    file = pydicom.dcmread(path)
    file.file_meta.TransferSyntaxUID = JPEG2000Lossless
    file.PixelData = encapsulate([b"\xff\x4f\xff\x51" + bytes(60)])
    file["PixelData"].is_undefined_length = True
    file.save_as(path)


@pytest.fixture
def no_decoder(monkeypatch):
    """As on a machine where none of the libraries of JPEG 2000 is installed."""
    monkeypatch.setattr(pydicom.pixels.get_decoder(JPEG2000Lossless), "_available", {})


def findings(cohort, where, **how):
    return [one for one in cohort.check(**how) if one.where == where]


def says_of_row_2(cohort, settings, words):
    """The check and a training both say of row 2 what is wrong with its file, name no patient, and the training goes on."""
    (found,) = findings(cohort, "unreadable files")
    assert f"1 of {ROWS} image files cannot be decoded (row 2, from 0)" in found.what
    assert words in found.what
    with pytest.warns(UserWarning, match=r"cannot be decoded and count as absent \(row 2, from 0\)") as told:
        job = mf.train(cohort, **settings).wait()
    said = next(str(one.message) for one in told if "cannot be decoded" in str(one.message))
    assert words in said
    assert "secret" not in said + repr(found)
    assert job.status == "completed", job.record.error


def nothing_is_left(job_id):
    """The job has no model and no checkpoint, and nothing in the home is half written."""
    assert not (home() / "models" / job_id).exists()
    assert {path.name for path in (home() / "jobs" / job_id).glob("*")} <= {"split.json"}
    assert open_store().checkpoints.list(job_id) == []
    assert not [path for path in home().rglob("*") if TEMPORARY.fullmatch(path.name)]


def fails(data, settings, *words):
    """The job says it as its last word, in the store, and the handle in the notebook."""
    job = mf.train(data, **settings)
    with pytest.raises(JobFailed, match=words[0]):
        job.wait()
    record = open_store().jobs.get(job.job_id)
    assert record.status == "failed"
    for word in words:
        assert word in record.error
    assert "Traceback" not in record.error
    assert "secret" not in record.error
    nothing_is_left(job.job_id)


def refused_at_once(data, words, **settings):
    """Before anything is stored."""
    with pytest.raises(ConfigError, match=words):
        mf.train(data, **{**FLAT, **settings})
    assert open_store().jobs.list().items == []


# files


@pytest.mark.parametrize(
    ("keep", "words"), [(-20, "cut short or damaged"), (300, "cut short: it ends before its image")]
)
def test_a_truncated_dicom_file(cohort, dicoms, keep, words):
    cut(dicoms / "secret-2.dcm", keep)
    says_of_row_2(cohort(), FLAT, words)


def test_a_compression_that_no_decoder_is_there_for(cohort, dicoms, no_decoder):
    compress(dicoms / "secret-2.dcm")
    says_of_row_2(cohort(), FLAT, "compressed as JPEG 2000 Image Compression (Lossless Only)")
    for k in range(1, ROWS):
        compress(dicoms / f"secret-{k}.dcm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fails(cohort(), FLAT, "No image of the training part can be read", "JPEG 2000", "pip install pylibjpeg")
    compress(dicoms / "secret-0.dcm")
    with pytest.raises(CohortError, match=r"None of the 24 image files .* can be decoded.*JPEG 2000.*pip install"):
        cohort()


def _lost(k, elements):
    return elements | {"ImagePositionPatient": [-100, -120, 30 + 2.5 * (k + (k > 1))]}


@pytest.mark.parametrize("damage", ["mixed spacing", "first slice cut in its header", "last slice without a byte"])
def test_a_series_that_is_not_whole(cohort, tmp_path, damage):
    rng = np.random.default_rng(0)
    for k in range(ROWS):
        volume = rng.normal(-600 + 300 * LABEL[k], 100, (4, 6, 6)).astype(int)
        change = {"change": _lost} if damage == "mixed spacing" and k == 2 else {}
        write_series(folder_of(tmp_path) / f"secret-{k}", volume, **change)
    words = "the series has mixed spacing"
    if damage != "mixed spacing":
        slices = sorted(
            (folder_of(tmp_path) / "secret-2").iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2]
        )
        first = damage.startswith("first")
        # neither may be left out without a word: the rest is of even spacing
        cut(slices[0 if first else -1], 300 if first else 0)
        words = "one of its files is cut short" if first else "one of its files"
    says_of_row_2(cohort(), VOLUMES, words)


def test_volumes_of_mixed_spacing_are_told_unless_they_are_made_alike(cohort, niftis):
    for row in range(0, ROWS, 3):
        niftis(row, (5.0, 1.0, 1.0))
    (found,) = findings(cohort(), "pixel spacing")
    assert "Slices are between 1 and 5 mm apart" in found.what
    assert "spacing=" in found.fix
    with pytest.warns(UserWarning, match=r"spacing of the volumes is mixed: 1 to 5 mm between slices\. .*set spacing"):
        mf.train(cohort(), **VOLUMES).wait()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert mf.train(cohort(), spacing=1.0, **VOLUMES).wait().status == "completed"


def test_a_nifti_without_affine(cohort, niftis):
    niftis(2, None)
    says_of_row_2(cohort(), VOLUMES, "has no affine: neither qform nor sform is set")
    for row in range(ROWS):
        niftis(row, None)
    with pytest.raises(CohortError, match=r"None of the 24 image files .* has no affine.*image\.set_sform"):
        cohort()


def test_a_flat_image_among_volumes(cohort, niftis, films):
    for k in range(ROWS):
        if k != 2:
            (films / f"secret-{k}.png").unlink()
    names = [f"secret-{k}.png" if k == 2 else f"secret-{k}.nii.gz" for k in range(ROWS)]
    mixed = cohort(names)
    (found,) = findings(mixed, "flat and volumes")
    assert found.severity == "error"
    assert "1 of 24 images are flat images among the others (row 2, from 0)" in found.what
    with pytest.warns(UserWarning, match=r"absent \(row 2, from 0\).*is an image, and volumes are needed"):
        mf.train(mixed, **VOLUMES).wait()


def test_images_of_other_channels_than_the_rest(cohort, tmp_path):
    for k in range(ROWS):
        np.save(folder_of(tmp_path) / f"secret-{k}.npy", np.full((9, 8, 5 if k == 2 else 4), k, np.uint8))
    (found,) = findings(cohort(), "channels")
    assert "4 (as row 0) and 5 (as row 2)" in found.what
    fails(cohort(), FLAT, "There are images of 4 and 5 channels; all must have the same number")


# bags and modalities


def test_a_bag_of_no_image_counts_as_absent(cohort, films):
    bags = [[f"secret-{k}", f"secret-{(k + 1) % ROWS}"] for k in range(ROWS)]
    with pytest.warns(UserWarning, match=r"1 of 24 rows have no image .*count as without image \(row 2, from 0\)"):
        one = cohort([[] if k == 2 else bag for k, bag in enumerate(bags)], bag=True)
    assert "1 of 24 rows have no image" in findings(one, "missing images")[0].what
    assert mf.train(one, **FLAT).wait().status == "completed"
    with pytest.raises(CohortError, match="column 'film' names no image in any of the 24 rows: every bag is empty"):
        cohort([[] for _ in bags], bag=True)


@pytest.mark.parametrize(
    ("columns", "roles", "name", "words"),
    [
        ({"film": None}, {}, "image", "No row of the training part has an image in the column 'film'"),
        ({"side": None}, {"image": ["film", "side"]}, "side", "training part has an image in the column 'side'"),
        ({"film": None}, {"bag": True}, "image", "No row of the training part has an image in the column 'film'"),
        ({"age": np.nan}, {}, "table", "No numeric or categorical column has a value in the training part"),
        (
            {"sex": None},
            {"numeric": None, "categorical": ["sex"]},
            "table",
            "No numeric or categorical column has a value in the training part",
        ),
    ],
    ids=["image", "view", "bag", "numbers", "categories"],
)
def test_a_modality_that_no_row_of_the_training_part_has(cohort, films, columns, roles, name, words):
    whole = {"side": [f"secret-{(k + 1) % ROWS}" for k in range(ROWS)], "sex": ["m", "f"] * (ROWS // 2)}
    made = cohort(columns=whole, **roles)
    rows = made.split(test=0.25, val=0.25, seed=0).rows
    frame = made.frame.copy()
    for column, nothing in columns.items():
        frame[column] = frame[column].astype(object)
        frame.loc[rows["train"], column] = nothing
    split = Split(mf.Cohort.from_roles(frame, made.roles()), rows)
    (found,) = findings(split.cohort, name, split=split)
    assert (found.severity, found.check) == ("error", "training part")
    refused_at_once(split, words)
    column = {"image": "image_encoder", "side": "image_encoder", "table": "tabular_encoder"}[name]
    if name != "side":
        assert mf.train(split, **{**FLAT, column: None}).wait().status == "completed"


def test_a_modality_that_no_row_of_the_training_part_of_a_fold_has(cohort, films):
    # all but the first four are tested in one of the other folds
    lonely = cohort(["secret-0.png", *[None] * (ROWS - 1)])
    with pytest.raises(ConfigError, match="No row of the training part has an image in the column 'film'"):
        mf.cross_validate(lonely, folds=3, **FLAT)
    assert open_store().jobs.list().items == []


def test_images_of_which_none_in_the_training_part_can_be_read(cohort, films):
    split = cohort().split(test=0.25, val=0.25, seed=0)
    for row in split.rows["train"]:
        cut(films / f"secret-{row}.png", 40)
    with pytest.warns(UserWarning, match="12 of 24 image files cannot be decoded"):
        fails(split, FLAT, "No image of the training part can be read", "the file cannot be read as an image")


# targets


@pytest.mark.parametrize(
    ("target", "column", "value", "words"),
    [
        ("ill", "ill", np.nan, r"column 'ill' is empty in 1 of 24 rows \(row 3, from 0\).*notna"),
        ("ill", "ill", np.inf, r"target 'ill' is 'inf' in 1 of 24 rows \(row 3, from 0\), and every row needs a class"),
        (mf.Ordinal("ill"), "ill", -np.inf, "target 'ill' is '-inf' in 1 of 24 rows"),
        (["ill", "death"], "ill", np.inf, r"column 'ill' has the value 'inf' \(row 3, from 0\); it must be 0 or 1"),
        (mf.Regression("days"), "days", np.nan, r"'days' is empty in 1 of 24 rows \(row 3, from 0\)"),
        (mf.Regression("days"), "days", np.inf, r"'days' is infinite.*in 1 of 24 rows \(row 3, from 0\)"),
        (mf.Regression("days"), "days", 1e30, r"'days' is 1e\+30 in row 3, from 0; 1e\+15 at most can be learned"),
        (mf.Survival("days", "death"), "days", np.inf, r"'days' is infinite.*in 1 of 24 rows \(row 3, from 0\)"),
        (mf.Survival("days", "death"), "days", 1e30, r"'days' is 1e\+30 in row 3"),
        (mf.Survival("days", "death"), "death", np.nan, r"'death' is empty in 1 of 24 rows \(row 3, from 0\)"),
        ({"a": "ill", "b": mf.Regression("days")}, "days", np.inf, "target 'b'.*'days' is infinite"),
    ],
    ids=str,
)
def test_a_target_that_is_no_number_or_infinite(cohort, films, tmp_path, target, column, value, words):
    columns = {"days": np.arange(ROWS) + 1.0, "death": LABEL[::-1], "ill": LABEL}
    columns[column] = np.where(np.arange(ROWS) == 3, value, columns[column])
    with pytest.raises(CohortError, match=words):
        cohort(columns=columns, target=target)
    pd.DataFrame({**columns, "film": [f"secret-{k}" for k in range(ROWS)]}).to_csv(films / "data.csv", index=False)
    with pytest.raises(CohortError, match=words):
        mf.Cohort(films / "data.csv", target=target, image="film")


def test_classes_that_were_made_text_with_their_gaps(cohort, films):
    gaps = [str(np.nan if row == 3 else label) for row, label in enumerate(LABEL)]
    with pytest.raises(CohortError, match=r"target 'ill' is 'nan' in 1 of 24 rows \(row 3, from 0\)"):
        cohort(columns={"ill": gaps})
    assert cohort(columns={"ill": ["inf", "sup"] * (ROWS // 2)}).classes == ("inf", "sup")  # lobes of a lung


def test_patients_that_are_all_censored(cohort, films):
    with pytest.raises(CohortError, match="All 24 rows are censored: 'death' is never 1"):
        cohort(columns={"days": np.arange(ROWS) + 1, "death": 0}, target=mf.Survival("days", "death"))


def test_a_class_that_training_never_sees_is_found_by_the_check(cohort, films):
    # that training refuses it is told in test_targets_end_to_end
    parts = np.select([np.arange(ROWS) < 4, np.arange(ROWS) < 8], ["test", "val"], "train")
    grades = np.where(np.arange(ROWS) < 4, "severe", np.where(LABEL, "mild", "none"))
    columns = {"ill": grades, "part": parts, "days": np.arange(ROWS) + 1, "death": (np.arange(ROWS) < 8).astype(int)}
    for target, where, words in (
        ("ill", "ill", "'severe' is in the part 'test', but in no row of the training part"),
        (
            mf.Survival("days", "death"),
            "days to death",
            "'event' is in the part 'val', but in no row of the training part",
        ),
    ):
        split = cohort(columns=columns, target=target).split_by("part")
        (found,) = split.cohort.check(split).of("training part")
        assert (found.severity, found.where) == ("error", where)
        assert words in found.what
        refused_at_once(split, "in no row of the training part")
