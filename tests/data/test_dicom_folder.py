"""A folder of DICOM files becomes a cohort with what the headers say, and nothing is matched by chance."""

import numpy as np
import pandas as pd
import pytest
from dicom_files import write_dicom

import medfusion as mf
from medfusion_jupyter.data import CohortError


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        where = tmp_path / "films" / f"p{number // 2}"
        where.mkdir(parents=True, exist_ok=True)
        write_dicom(
            where / f"{number}",
            rng.integers(0, 4000, (16, 16)).astype(np.uint16),
            PatientID=f"00{number // 2}",
            StudyInstanceUID=f"1.2.{number // 2}",
            PatientAge=("040Y", "006M", "")[number // 2],
            PatientSex="F",
            ViewPosition="AP" if number % 2 else "PA",
        )
    return tmp_path / "films"


LABELS = pd.DataFrame({"PatientID": ["000", "001", "002"], "icu": ["yes", "no", "no"], "crp": [9, 8, 7]})


def test_headers_and_labels_are_one_table(folder, tmp_path):
    LABELS.to_csv(tmp_path / "labels.csv", index=False)
    cohort = mf.read_dicom_folder(
        folder, tmp_path / "labels.csv", target="icu", numeric=["crp", "PatientAge"], categorical=["ViewPosition"]
    )
    assert (len(cohort), cohort.num_patients, cohort.name) == (6, 3, "films")
    assert cohort.class_counts == {"no": 4, "yes": 2}
    assert cohort.numbers("PatientAge")[[0, 2]].tolist() == [40, 0.5]
    assert np.isnan(cohort.numbers("PatientAge")[4])
    assert all(path is not None for path in cohort.image_paths)
    assert "secret" not in str(cohort.frame)


def test_all_images_of_a_study_are_one_row_where_they_are_asked_to_be(folder):
    cohort = mf.read_dicom_folder(folder, LABELS, target="icu", bag="StudyInstanceUID")
    assert [len(images) for images in cohort.images[0]] == [2, 2, 2]


def test_what_is_left_out_is_counted(folder):
    (folder / "readme.txt").write_text("no DICOM")
    with (
        pytest.warns(UserWarning, match="2 of 6 DICOM files have no label"),
        pytest.warns(UserWarning, match=r"1 files in .* are no DICOM"),
    ):
        cohort = mf.read_dicom_folder(folder, LABELS.iloc[:2], target="icu")
    assert len(cohort) == 4


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        (pd.concat([LABELS, LABELS]), {}, "3 rows whose PatientID is in a row before"),
        (LABELS.rename(columns={"PatientID": "PatientId"}), {}, "Did you mean 'PatientId'"),
        (LABELS.assign(PatientID=["a", "b", "c"]), {}, "No PatientID of the 6"),
        (LABELS, {"on": "PatientName"}, "choose one of PatientID"),
    ],
)
@pytest.mark.filterwarnings("ignore:6 of 6")
def test_labels_that_do_not_fit_are_refused(folder, labels, more, words):
    with pytest.raises(CohortError, match=words):
        mf.read_dicom_folder(folder, labels, target="icu", **more)


def test_a_folder_without_any_is_refused(tmp_path):
    with pytest.raises(CohortError, match="no readable DICOM file"):
        mf.read_dicom_folder(tmp_path, LABELS, target="icu")
    with pytest.raises(CohortError, match="does not exist"):
        mf.read_dicom_folder(tmp_path / "none", LABELS, target="icu")


def test_it_is_a_node(folder, tmp_path, store):
    LABELS.to_csv(tmp_path / "labels.csv", index=False)
    wf = mf.Workflow("films")
    wf.add("source.dicom", folder=folder, labels=tmp_path / "labels.csv", target="icu", categorical=["PatientSex"])
    run = wf.run().wait(60)
    assert len(run.output("dicom")) == 6
    assert mf.Workflow.from_code(wf.to_code()).graph == wf.graph
