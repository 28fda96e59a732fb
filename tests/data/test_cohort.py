"""A cohort reads what researchers have, and refuses what cannot be right with a word that names it."""

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import CohortError
from medfusion_jupyter.store import StoreError, open_store


@pytest.fixture
def make(frame, images):
    def make(table=None, **changes):
        roles = {
            "target": "icu",
            "image": "film",
            "image_root": images,
            "patient": "who",
            "numeric": ["crp"],
            "categorical": ["sex"],
        }
        return mf.Cohort(frame if table is None else table, **{**roles, **changes})

    return make


def test_a_dataframe_and_its_csv_give_the_same_cohort(make, frame, images):
    path = images.parent / "data.csv"
    frame.to_csv(path, index=False)
    from_csv, from_frame = make(path), make()
    assert from_csv.fingerprint == from_frame.fingerprint
    assert from_csv.name == "data"
    assert from_csv.classes == ("0", "1")
    assert list(from_csv.target_codes) == [0, 1] * 4
    assert from_csv.num_patients == 8
    assert [path.name for path in from_csv.image_paths] == [f"i{k}.png" for k in range(8)]


def test_the_images_of_a_csv_lie_beside_it_unless_told(frame, images):
    frame.to_csv(images / "data.csv", index=False)
    assert mf.Cohort(images / "data.csv", target="icu", image="film").image_paths[3] == images / "i3.png"


def test_ids_with_leading_zeros_stay_themselves(images, tmp_path):
    (images / "007.png").write_bytes((images / "i1.png").read_bytes())
    (tmp_path / "d.csv").write_text("film,icu,who\n007,0,01\ni2,1,1\n")
    cohort = mf.Cohort(tmp_path / "d.csv", target="icu", image="film", image_root=images, patient="who")
    assert cohort.image_paths[0] == images / "007.png"
    assert cohort.num_patients == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "icuu"}, r"no column 'icuu' \(target\). Did you mean 'icu'"),
        ({"image": "films"}, r"'films' \(image\). Did you mean 'film'"),
        ({"patient": "whom"}, r"'whom' \(patient\). Did you mean 'who'"),
        ({"numeric": ["crq"]}, r"'crq' \(numeric\). Did you mean 'crp'"),
        ({"categorical": ["sexx"]}, r"'sexx' \(categorical\)"),
        ({"numeric": ["icu"]}, "'icu' cannot be learned from: it is the target"),
        ({"categorical": ["who"]}, "'who' cannot be learned from: it is the patient column"),
        ({"numeric": ["crp", "crp"]}, "'crp' is listed twice"),
        ({"numeric": "crp"}, r"must be a list of columns: \['crp'\]"),
        (
            {"numeric": ["sex"], "categorical": None},
            "numeric column 'sex' has 7 values that are no numbers, such as 'f', 'm'",
        ),
        ({"image_root": "/no/such"}, "'/no/such' does not exist"),
        ({"target": "sex", "categorical": []}, "'sex' is empty in 1 of 8 rows"),
    ],
)
def test_roles_that_cannot_be_are_refused(make, changes, words):
    with pytest.raises(CohortError, match=words):
        make(**changes)


def test_a_target_must_have_classes(make, frame):
    with pytest.raises(CohortError, match=r"one class only \('0'\)"):
        make(frame.assign(icu=0))
    measured = pd.DataFrame({"y": np.linspace(0, 1, 300)})
    with pytest.raises(CohortError, match="300 different values"):
        mf.Cohort(measured, target="y")


def test_a_patient_must_be_known(make, frame):
    with pytest.raises(CohortError, match="'who' is empty in 1 of 8 rows"):
        make(frame.assign(who=[None, *frame.who[1:]]))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"a,icu\n", "no rows"),
        (b"a,icu,a\n1,0,2\n", "more than one column named 'a'"),
        ("naïve,icu\n1,0\n".encode("latin-1"), "is not UTF-8"),
        (b"icu,a\n0,caf\xe9\n1,b\n", "is not UTF-8 .* encoding='latin-1'"),
        ("icu,a\n0,b\n".encode("utf-16"), "is not UTF-8 .* encoding='utf-16'"),
        (b"a;icu\n1;0\n", "separated by ';'"),
        (b"a,icu\n1,0\n1,2,3,4\n", "cannot be read as a CSV"),
    ],
)
def test_files_that_are_no_table_are_refused(tmp_path, content, words):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(CohortError, match=words):
        mf.Cohort(path, target="icu")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CohortError, match=r"no file .*none\.csv"):
        mf.Cohort(tmp_path / "none.csv", target="icu")


def test_a_dataframe_with_repeated_columns_is_refused(frame):
    with pytest.raises(CohortError, match="more than one column named 'crp'"):
        mf.Cohort(pd.concat([frame, frame[["crp"]]], axis=1), target="icu")


def test_missing_images_are_counted_and_absent(make, images):
    (images / "i3.png").unlink()
    with pytest.warns(UserWarning, match=r"1 of 8 rows have no image .*\(row 3, from 0\)"):
        cohort = make()
    assert cohort.image_paths[3] is None


def test_a_link_is_its_file_and_one_that_leads_nowhere_is_absent(make, images):
    films = sorted(images.iterdir())
    for path, target in zip(films, ["whole.png", "nowhere.png", films[2].name], strict=False):
        path.rename(images.parent / "whole.png")
        path.symlink_to(images.parent / target if target == "whole.png" else images / target)
    with pytest.warns(UserWarning, match=r"2 of 8 rows have no image"):
        cohort = make()
    assert cohort.image_paths[:3] == [films[0], None, None]


def test_a_folder_that_may_not_be_read_is_named(make, images, monkeypatch):
    def refused(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr("medfusion_jupyter.data.image_files.os.scandir", refused)
    with pytest.raises(CohortError, match=rf"folder {images} of images cannot be read: Permission denied"):
        make()


def test_no_image_at_all_is_refused(make, images, tmp_path):
    for path in images.iterdir():
        path.write_bytes(b"not an image")
    with pytest.raises(CohortError, match="None of the 8 image files .* can be decoded"):
        make()
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match=r"None of the 8 images of column 'film' is in .*empty"):
        make(image_root=tmp_path / "empty")


def test_two_files_that_fit_one_name_are_refused(make, images):
    (images / "i1.jpg").write_bytes((images / "i1.png").read_bytes())
    with pytest.raises(CohortError, match=r"'i1' of column 'film' fits several files: i1\.jpg, i1\.png"):
        make()


@pytest.mark.parametrize("value", ["../secret", "/etc/passwd", "a/../../b"])
def test_paths_stay_inside_the_root(make, frame, value):
    with pytest.raises(CohortError, match="leads out of image_root"):
        make(frame.assign(film=[value, *frame.film[1:]]))


def test_detection_limits_are_read_in_each_way_that_laboratories_write_them(frame):
    written = frame.assign(crp=["<0.5", ">= 1,000", "-inf", "inf", "3", "", None, "4e1"])
    values = mf.Cohort(written, target="icu", numeric=["crp"]).numbers("crp")
    assert np.array_equal(values, [-np.inf, np.inf, -np.inf, np.inf, 3, np.nan, np.nan, 40], equal_nan=True)


def test_columns_without_a_value_are_warned_about(frame):
    with pytest.warns(UserWarning, match="without any value, not learned from: age"):
        mf.Cohort(frame.assign(age=np.nan), target="icu", numeric=["age", "crp"])


def test_the_view_escapes_and_shows_no_patient(make, frame):
    evil = frame.rename(columns={"crp": "<script>alert(1)</script>"}).assign(sex=["<img src=x>"] * 8)
    shown = make(evil, numeric=["<script>alert(1)</script>"])._repr_html_()
    assert "<script>alert" not in shown
    assert "<img src=x>" not in shown
    assert "&lt;script&gt;" in shown
    assert "secret-" not in shown
    assert "secret-" not in repr(make())
    for words in ("8 rows", "8 patients", "8 images", "2 beyond the detection limit", "12%"):
        assert words in make()._repr_html_(), words
    assert make()._repr_html_().count("<img") == 8


def test_what_is_written_comes_back(make, tmp_path):
    cohort = make()
    cohort.write(tmp_path / "kept")
    again = mf.Cohort.read(tmp_path / "kept")
    assert again.fingerprint == cohort.fingerprint
    assert again.classes == cohort.classes
    assert np.array_equal(again.numbers("crp"), cohort.numbers("crp"), equal_nan=True)
    assert again.image_paths == cohort.image_paths
    with pytest.raises(CohortError, match="no readable cohort"):
        mf.Cohort.read(tmp_path / "nothing")


def test_only_the_columns_that_are_used_are_kept(make, frame, tmp_path):
    make(frame.assign(address="Main street 1")).write(tmp_path / "kept")
    assert "Main street" not in (tmp_path / "kept" / "table.csv").read_text()


def test_the_fingerprint_tells_cohorts_apart(make, frame, images):
    prints = {
        make().fingerprint,
        make(frame.assign(crp=1.0)).fingerprint,
        make(categorical=None).fingerprint,
        make(frame.iloc[::-1]).fingerprint,
    }
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30), np.uint8)).save(images / "i0.png")
    assert len(prints | {make().fingerprint}) == 5
    assert make().fingerprint == make().fingerprint


def test_a_saved_cohort_is_a_row_of_the_datasets(make):
    cohort = make().save("hannover")
    row = open_store().datasets.get_by_name("hannover")
    assert (row.fingerprint, row.num_samples, row.num_patients) == (cohort.fingerprint, 8, 8)
    assert row.class_distribution == {"0": 4, "1": 4}
    assert mf.Cohort.read(row.data_path).name == "hannover"


def test_a_home_that_cannot_be_is_named_with_what_to_do(make, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDFUSION_HOME", str(tmp_path / "file"))
    with pytest.raises(StoreError, match="Set MEDFUSION_HOME"):
        make().save("hips")
    with pytest.raises(CohortError, match=r"cannot be written to .*file.*Set MEDFUSION_HOME"):
        mf.synthetic_cohort(n=20, image_size=16)


def test_the_users_table_is_left_as_it_was(make, frame):
    before = frame.copy(deep=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make().split(test=0.25, val=0.25)
    pd.testing.assert_frame_equal(frame, before)
