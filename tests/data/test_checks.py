"""`cohort.check()` finds what would make a model or its test wrong, says why, and names no patient."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance
from sklearn.metrics import roc_auc_score

import medfusion as mf
from medfusion_jupyter.data import CohortError, Split
from medfusion_jupyter.data.checks import CHECKS, CheckFailed
from medfusion_jupyter.data.checks.burned_in_text import text_tiles
from medfusion_jupyter.data.checks.predictability import Predictability, bins_of_numbers

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no image", "ignore:Columns without any value")


def table(n=400, seed=0, **columns):
    """A sound table of n patients, with `columns` in place of its own or beside them; a function gets y and a generator."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % 2)
    own = {
        "who": [f"secret-{k}" for k in range(n)],
        "sick": y,
        "crp": rng.normal(y * 0.5, 1),
        "sex": rng.choice(["m", "f"], n),
    }
    given = {name: made(y, rng) if callable(made) else made for name, made in columns.items()}
    return pd.DataFrame({**own, **given})


def cohort(frame, **roles):
    return mf.Cohort(frame, **{"target": "sick", "patient": "who", "numeric": ["crp"], "categorical": ["sex"], **roles})


def film(rng, side=128):
    """A smooth picture that no other film looks like."""
    coarse = Image.fromarray(rng.integers(60, 190, (9, 9), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


@pytest.fixture
def films(tmp_path):
    """A cohort of 60 patients with a film each; `change(films, frame)` may alter both before it is built."""

    def make(change=lambda pictures, frame: None, **roles):
        rng = np.random.default_rng(5)
        frame = table(60)
        pictures = [film(rng) for _ in range(60)]
        frame["film"] = [f"f{k}.png" for k in range(60)]
        change(pictures, frame)
        for name, picture in zip(frame["film"], pictures, strict=True):
            if picture is not None:
                picture.save(tmp_path / name)
        return cohort(frame, image="film", image_root=tmp_path, **roles)

    return make


def found(checked, check, where):
    return [one for one in checked.of(check) if one.where == where]


def test_a_sound_cohort_gives_no_error_and_no_warning(films):
    assert not cohort(table()).check().errors + cohort(table()).check().warnings
    checked = films().check()
    assert [one for one in checked if one.check != "counts"] == []


def test_the_real_cohort_has_the_traps_that_its_authors_warn_of(hannover_cohort):
    real = hannover_cohort()
    checked = real.check()
    assert "37 of 71 patients have more than one row" in found(checked, "patients", "patient_id")[0].what
    (projection,) = found(checked, "shortcuts", "projection")
    assert projection.severity == "warning"
    assert "nearly gives the class 'True' away" in projection.what
    assert {one.where for one in checked.of("columns")} == {"age", "size", "weight"}
    assert {one.where for one in checked.of("outcomes")} == {
        "icu_admission_offset",
        "icu_release_offset",
        "death_offset",
    }
    # `Bettaufnahme` and its like are written into the films
    assert found(checked, "images", "burned-in text")
    assert not checked.of("duplicates") + checked.of("near-duplicates")
    shown = repr(checked) + checked._repr_html_() + checked.to_frame().to_csv()
    for secret in {*real.frame["patient_id"], *real.frame["image_id"]}:
        assert secret not in shown


def test_an_outcome_that_is_learned_from_is_an_error(hannover_cohort):
    table_alone = {"image": None, "image_root": None, "categorical": None}
    checked = hannover_cohort(numeric=["icu_release_offset", "crp_val"], **table_alone).check()
    assert [one.where for one in checked.errors] == ["icu_release_offset"]


def test_a_column_is_judged_on_patients_that_were_not_looked_at():
    # an id of the patient would be perfect on the rows it was learned from
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(60), 5)
    y = rng.integers(0, 2, 60)[patients]
    area = Predictability({"yes": y.astype(float)}, patients, seed=0).of(patients + 1).area
    assert area.low < 0.5 < area.high


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_column_of_noise_is_rarely_far_from_one_half(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 400)
    judge = Predictability({"yes": y.astype(float)}, np.arange(400), seed=0)
    assert 0.35 < judge.of(bins_of_numbers(rng.normal(size=400))).area.value < 0.65


def test_a_strong_column_has_the_auroc_that_it_has():
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 5000)
    x = rng.normal(1.5 * y, 1)
    area = Predictability({"yes": y.astype(float)}, np.arange(5000), seed=0).of(bins_of_numbers(x)).area
    assert area.value == pytest.approx(roc_auc_score(y, x), abs=0.02)
    assert area.low < roc_auc_score(y, x) < area.high + 0.02
    # a U shape has no AUROC of its own, but tells the class all the same
    u = rng.normal(0, np.where(y, 3, 0.3))
    assert Predictability({"yes": y.astype(float)}, np.arange(5000), seed=0).of(bins_of_numbers(u)).area.value > 0.85


def test_of_several_classes_the_one_that_is_given_away_is_named():
    frame = table(600, sick=np.arange(600) % 3, scanner=lambda y, rng: np.where(np.arange(600) % 3 == 2, "B", "A"))
    (one,) = cohort(frame).check().of("shortcuts")
    assert (one.where, one.severity) == ("scanner", "warning")
    assert "'2'" in one.what


@pytest.mark.parametrize("name", ["site", "ScannerModel", "manufacturer_name", "view-position"])
def test_the_way_of_imaging_that_tells_the_class_is_a_shortcut(name):
    frame = table(**{name: lambda y, rng: np.where(rng.random(len(y)) < 0.9, y, 1 - y)})
    assert found(cohort(frame).check(), "shortcuts", name)
    harmless = table(**{name: lambda y, rng: rng.integers(0, 2, len(y))})
    assert not found(cohort(harmless).check(), "shortcuts", name)


def test_that_something_was_measured_at_all_can_tell_the_class():
    frame = table(troponin=lambda y, rng: np.where(rng.random(len(y)) < np.where(y, 0.95, 0.1), 1.0, np.nan))
    (one,) = found(cohort(frame, numeric=["crp", "troponin"]).check(), "shortcuts", "troponin")
    assert "Whether it is filled in" in one.what


def test_a_column_that_gives_the_class_away_is_an_error_where_used_and_a_note_where_not():
    frame = table(score=lambda y, rng: rng.normal(8 * y, 1))
    assert found(cohort(frame, numeric=["score"]).check(), "outcomes", "score")[0].severity == "error"
    assert found(cohort(frame).check(), "outcomes", "score")[0].severity == "note"


def test_a_name_alone_is_a_warning():
    frame = table(days_to_discharge=lambda y, rng: rng.integers(1, 30, len(y)))
    (one,) = found(cohort(frame, numeric=["days_to_discharge"]).check(), "outcomes", "days_to_discharge")
    assert one.severity == "warning"


def test_a_patient_column_that_was_not_given_is_an_error():
    frame = table(400, who=[f"secret-{k // 4}" for k in range(400)]).rename(columns={"who": "patient_no"})
    (one,) = cohort(frame, patient=None).check().errors
    assert (one.check, one.where) == ("patients", "patient_no")
    assert "patient='patient_no'" in one.fix
    assert "secret" not in repr(one)


def test_a_patient_on_two_sides_of_a_column_of_parts_is_an_error():
    frame = table(400, who=[f"secret-{k // 4}" for k in range(400)], split=["train", "train", "train", "test"] * 100)
    (one,) = cohort(frame).check().errors
    assert (one.check, one.where) == ("patients", "split")
    assert "100 patients" in one.what
    sound = table(400, split=["train", "train", "train", "test"] * 100)
    assert not cohort(sound).check().errors


def test_too_few_patients_for_columns_classes_folds_and_batches():
    frame = table(100, sick=["ill"] * 2 + ["well"] * 98)
    severities = {(one.severity, one.where) for one in cohort(frame).check(batch_size=16).of("counts")}
    assert severities == {("error", "sick"), ("warning", "sick"), ("warning", "table")}
    assert not cohort(table(400)).check(folds=10, batch_size=8).of("counts")


def test_columns_in_which_there_is_nothing_to_learn():
    n = 400
    frame = table(
        n,
        empty=np.nan,
        same=1.0,
        rare=[1.0, 2.0] * 20 + [np.nan] * (n - 40),
        names=[f"x{k % 150}" for k in range(n)],
    )
    checked = cohort(frame, numeric=["crp", "empty", "same", "rare"], categorical=["names"]).check()
    assert {one.where for one in checked.of("columns")} == {"empty", "same", "rare", "names"}
    assert all(one.severity == "warning" for one in checked.of("columns"))


def _copy(of, to, how=lambda picture: picture):
    def change(pictures, frame):
        pictures[to] = how(pictures[of])

    return change


def test_the_same_image_under_two_patients_is_an_error(films):
    (one,) = [one for one in films(_copy(3, 40)).check().of("duplicates") if "patients" in one.what]
    assert one.severity == "error"
    assert "rows 3 and 40" in one.what


@pytest.mark.parametrize(
    "how",
    [
        lambda picture: ImageEnhance.Brightness(picture).enhance(1.15),
        lambda picture: picture.resize((64, 64)),
        lambda picture: picture.crop((1, 1, 127, 127)),
    ],
    ids=["brighter", "half the size", "cropped"],
)
def test_nearly_the_same_image_is_found(films, how):
    checked = films(_copy(3, 40, how)).check()
    assert any("rows 3 and 40" in one.what for one in checked.of("near-duplicates"))
    assert not checked.of("duplicates")


def test_the_same_image_of_one_patient_is_a_note_unless_it_is_on_two_sides(films):
    def change(pictures, frame):
        pictures[40] = pictures[3]
        frame.loc[40, ["who", "sick"]] = frame.loc[3, ["who", "sick"]].to_list()

    twice = films(change)
    assert [one.severity for one in twice.check().of("duplicates")] == ["note"]
    unaware = films(change, patient=None)
    rows = np.arange(60)
    split = Split(unaware, {"train": rows[rows < 30], "val": rows[:0], "test": rows[rows >= 30]})
    (one,) = [one for one in unaware.check(split).of("duplicates") if one.where == "split"]
    assert one.severity == "error"


def test_unreadable_and_empty_images_are_counted(films, tmp_path):
    def change(pictures, frame):
        pictures[5] = Image.fromarray(np.zeros((128, 128), np.uint8))

    made = films(change)
    (tmp_path / "f7.png").write_bytes((tmp_path / "f7.png").read_bytes()[:60])
    checked = made.check()
    assert "1 of 60 image files cannot be decoded (row 7" in found(checked, "images", "unreadable files")[0].what
    assert "(row 5" in found(checked, "images", "empty images")[0].what


def test_files_without_a_byte_are_unreadable_and_no_duplicates(films):
    made = films()
    for path in made.image_paths[:3]:
        path.write_bytes(b"")
    checked = made.check()
    assert "3 of " in found(checked, "images", "unreadable files")[0].what
    assert not checked.of("duplicates")


def test_an_image_size_that_tells_the_class_is_a_shortcut(films):
    def change(pictures, frame):
        for k in np.flatnonzero(frame["sick"]):
            pictures[k] = pictures[k].resize((100, 120))

    (one,) = films(change).check().of("shortcuts")
    assert one.where.startswith("image")
    assert "gives the class '1' away" in one.what


def test_an_absent_image_that_tells_the_class_is_a_warning(films):
    def change(pictures, frame):
        for k in np.flatnonzero(frame["sick"])[3:]:
            pictures[k] = None

    (one,) = found(films(change).check(), "images", "missing images")
    assert one.severity == "warning"


def test_words_are_found_and_wires_are_not():
    picture = film(np.random.default_rng(0), 384)
    assert text_tiles(np.asarray(picture)) == 0
    wired = picture.copy()
    ImageDraw.Draw(wired).line([(0, 20), (200, 300), (380, 40)], fill=255, width=2)
    assert text_tiles(np.asarray(wired)) == 0
    written = picture.copy()
    ImageDraw.Draw(written).text((250, 10), "BED SUPINE", fill=255)
    assert text_tiles(np.asarray(written)) > 0


def test_of_a_large_cohort_a_sample_is_looked_at_and_the_report_says_so(films, monkeypatch):
    from medfusion_jupyter.data.checks import inspection

    monkeypatch.setattr(inspection, "ROWS", 40)
    checked = films().check(images=25)
    assert checked.looked_at == "looked at 40 of 60 rows and 25 of 60 image files"


def test_a_sample_holds_whole_patients(monkeypatch):
    from medfusion_jupyter.data.checks.inspection import Inspection

    monkeypatch.setattr("medfusion_jupyter.data.checks.inspection.ROWS", 40)
    made = cohort(table(400, who=[f"secret-{k // 4}" for k in range(400)]))
    rows = Inspection(made, None, folds=5, batch_size=32, images=10, seed=3).rows
    assert len(rows) == 40
    assert (np.bincount(made.patient_codes[rows])[np.unique(made.patient_codes[rows])] == 4).all()


def test_the_view_escapes_and_the_gravest_comes_first():
    evil = "<script>alert(1)</script>_discharge"
    checked = cohort(table(**{evil: lambda y, rng: y * 1.0}), numeric=[evil, "crp"]).check()
    assert "<script>alert" not in checked._repr_html_()
    assert "&lt;script&gt;" in checked._repr_html_()
    assert checked[0].severity == "error"
    assert list(checked.to_frame()["severity"]) == [one.severity for one in checked]


@pytest.mark.parametrize("bad", [{"folds": 1}, {"batch_size": 0}, {"images": 0}])
def test_what_cannot_be_asked_is_refused(bad):
    with pytest.raises(CohortError, match=f"{next(iter(bad))}="):
        cohort(table()).check(**bad)


def test_each_check_has_its_own_file():
    assert len({check.__module__ for check in CHECKS}) == len(CHECKS)


def test_a_check_stops_at_findings_of_the_severity_that_it_was_told():
    leaking = cohort(table(100, later=lambda y, rng: y * 2 + 1), numeric=["crp", "later"])
    with pytest.raises(CheckFailed, match=r"stop_at='error':\n- error: later[\s\S]*set stop_at='never'") as stopped:
        leaking.check(stop_at="error")
    found = stopped.value.findings
    assert len(found.errors) == str(stopped.value).count("\n- ")
    found.stop_at("never")
    with pytest.raises(CohortError, match="stop_at='errors' is no severity"):
        found.stop_at("errors")
    small = cohort(table(30)).check(stop_at="error")
    assert small.warnings
    with pytest.raises(CheckFailed, match="- warning: "):
        small.stop_at("warning")
