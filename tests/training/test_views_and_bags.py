"""Several images a row: views that are modalities of their own, and bags whose images count together."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import medfusion as mf
from medfusion_jupyter.data import CohortError
from medfusion_jupyter.data.batch_rows import drawn_from_bags
from medfusion_jupyter.store.dataset_files import analyzed
from medfusion_jupyter.training import ConfigError, JobFailed

pytestmark = pytest.mark.filterwarnings("ignore:.*rows have no image", "ignore:.*images of bags are not in")

ROWS = 48
TINY = {"image_encoder": "light_cnn", "image_size": 8, "epochs": 1, "batch_size": 8, "device": "cpu"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A table of ROWS patients and, for each, four images whose grey values tell the class."""
    folder = tmp_path_factory.mktemp("drawn")
    rng = np.random.default_rng(0)
    label = np.arange(ROWS) % 2
    for row in range(ROWS):
        for k in range(4):
            pixels = rng.normal(100 + 40 * label[row], 20, (8, 8)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"r{row}-{k}.png")
    frame = pd.DataFrame({"who": range(ROWS), "ill": label, "age": rng.normal(60, 10, ROWS)})
    return folder, frame


@pytest.fixture
def views(drawn, medfusion_home):
    folder, frame = drawn
    frame = frame.assign(front=[f"r{k}-0" for k in range(ROWS)], side=[f"r{k}-1" for k in range(ROWS)])
    frame.loc[3, "side"] = None
    frame.loc[[4, 5], "front"] = None
    frame.loc[5, "side"] = None

    def make(image=("front", "side"), table=frame, **more):
        return mf.Cohort(table, target="ill", patient="who", image=image, image_root=folder, numeric=["age"], **more)

    with pytest.warns(UserWarning, match="rows have no image 'front'"):
        make()
    return make


@pytest.fixture
def bags(drawn, medfusion_home):
    folder, frame = drawn
    frame = frame.assign(slices=[[f"r{k}-{i}.png" for i in range(k % 4 + 1)] for k in range(ROWS)])
    frame.at[5, "slices"] = []

    def make(table=frame, **more):
        given = {"bag": True, "image": "slices", "numeric": ["age"], **more}
        return mf.Cohort(table, target="ill", patient="who", image_root=folder, **given)

    return make


def trained(data, **settings):
    job = mf.train(data, **{**TINY, **settings}).wait()
    assert job.status == "completed", job.record.error
    return job


@pytest.mark.parametrize(
    ("fusion", "shared"), [("gated", True), ("cross_attention", False), ("transformer", True), ("late", False)]
)
def test_views_train_resume_and_predict_with_one_of_them_missing(views, fusion, shared):
    cohort = views({"frontal": "front", "lateral": "side"})
    assert list(cohort.views) == ["frontal", "lateral"]
    job = trained(cohort, fusion=fusion, shared_encoder=shared, modality_dropout=0.3, mixup=0.2)
    model = job.model
    assert model.spec.modalities == ("frontal", "lateral", "table")
    table = cohort.frame.drop(columns="ill")
    whole = model.predict(cohort)
    lacking = model.predict(table.assign(side=None), image_root=cohort.image_root)
    assert np.isfinite(lacking.to_numpy()).all()
    alike = np.isclose(whole, lacking).all(axis=1)
    assert alike[[3, 5]].all()  # they had no lateral image before
    assert not alike.all()
    # what a view shows is not taken for the other
    swapped = model.predict(table.rename(columns={"front": "side", "side": "front"}), image_root=cohort.image_root)
    assert not np.allclose(whole, swapped)
    encoders = 1 if shared else 2
    assert len(model.module.image_encoders) == encoders
    assert job.record.training_config["shared_encoder"] is shared
    assert job.record.data_config["image"] == {"frontal": "front", "lateral": "side"}


@pytest.mark.parametrize("make", ["views", "bags"])
def test_a_run_that_is_cut_off_and_resumed_goes_on_as_if_it_had_not_been(make, request):
    cohort = request.getfixturevalue(make)()
    settings = {"epochs": 2, "modality_dropout": 0.2, **({"max_images": 2} if make == "bags" else {})}
    whole = trained(cohort, **settings)
    cut = mf.train(cohort, callbacks=[FailsInItsSecondEpoch()], **{**TINY, **settings})
    with pytest.raises(JobFailed, match="failed at epoch 1: cut off"):
        cut.wait()
    resumed = mf.resume(cut.job_id).wait()
    assert resumed.history["train/loss"].tolist() == whole.history["train/loss"].tolist()
    assert resumed.history["val/loss"].tolist() == whole.history["val/loss"].tolist()


class FailsInItsSecondEpoch(mf.Callback):
    essential = True

    def epoch_start(self, state):
        if state.epoch == 2:
            raise RuntimeError("cut off")


@pytest.mark.parametrize("bag", ["mean", "max", "attention", "gated_attention", "transformer"])
def test_bags_train_and_predict_the_same_in_any_order_and_without_any_image(bags, bag):
    cohort = bags()
    job = trained(cohort, bag=bag, max_images=2, fusion="transformer" if bag == "mean" else "gated")
    model = job.model
    assert model.module.architecture.aggregator == bag
    whole = model.predict(cohort)
    table = cohort.frame.drop(columns="ill")
    turned = table.assign(slices=[list(reversed(cell)) for cell in table["slices"]])
    assert np.array_equal(model.predict(turned, image_root=cohort.image_root), whole)
    as_text = table.assign(slices=["; ".join(cell) for cell in table["slices"]])
    assert np.array_equal(model.predict(as_text, image_root=cohort.image_root), whole)
    none = model.predict(table.assign(slices=None), image_root=cohort.image_root)
    assert np.allclose(none.loc[5], whole.loc[5], atol=1e-6)  # its bag was empty before
    assert not np.allclose(none, whole)
    one = model.predict(table.assign(slices=[cell[:1] for cell in table["slices"]]), image_root=cohort.image_root)
    assert np.allclose(one.loc[0], whole.loc[0], atol=1e-6)  # it had one image before
    assert not np.allclose(one.loc[3], whole.loc[3])


@pytest.mark.parametrize(("shared", "fusion"), [(True, "gated"), (False, "transformer")])
def test_views_may_each_be_bags(bags, drawn, shared, fusion):
    folder, frame = drawn
    several = frame.assign(
        front=[[f"r{k}-{i}" for i in range(k % 3 + 1)] for k in range(ROWS)],
        side=[[f"r{k}-{i}" for i in range(3, 3 - k % 2, -1)] for k in range(ROWS)],
    )
    cohort = bags(several, image=["front", "side"])
    assert cohort.images.shape == (2, ROWS, 3)
    assert "front: 96 images in bags of up to 3, side: 24 images in bags of up to 1, 24 rows without" in repr(cohort)
    settings = {"fusion": fusion, "shared_encoder": shared, "max_images": 2, "epochs": 2, "modality_dropout": 0.2}
    job = trained(cohort, **settings)
    cut = mf.train(cohort, callbacks=[FailsInItsSecondEpoch()], **{**TINY, **settings})
    with pytest.raises(JobFailed, match="cut off"):
        cut.wait()
    assert mf.resume(cut.job_id).wait().history["train/loss"].tolist() == job.history["train/loss"].tolist()
    model = job.model
    assert f"light_cnn of bags of front, side ({model.module.architecture.aggregator})" in repr(model)
    own = [name for name, _ in model.module.named_parameters() if name.startswith("aggregator.view_side")]
    assert bool(own) is not shared
    whole, table = model.predict(cohort), several.drop(columns="ill")
    turned = table.assign(front=[cell[::-1] for cell in table["front"]])
    assert np.array_equal(model.predict(turned, image_root=folder), whole)
    swapped = model.predict(table.rename(columns={"front": "side", "side": "front"}), image_root=folder)
    assert not np.allclose(swapped, whole)
    one = model.predict(table.assign(side=None), image_root=folder)
    without = np.arange(ROWS) % 2 == 0  # had no lateral image before
    assert np.allclose(one[without], whole[without], atol=1e-6)
    assert not np.isclose(one, whole).all(axis=1)[~without].any()


def test_rows_of_a_study_become_a_bag_of_each_view(bags, drawn):
    folder, frame = drawn
    several = pd.DataFrame({"study": np.repeat(np.arange(ROWS), 2), "ill": np.repeat(frame["ill"], 2)}).reset_index()
    several["front"] = [f"r{k}-{i}" for k in range(ROWS) for i in range(2)]
    several["side"] = [f"r{k}-2" if i else None for k in range(ROWS) for i in range(2)]
    made = mf.Cohort(several, target="ill", image=["front", "side"], image_root=folder, bag="study")
    assert made.images.shape == (2, ROWS, 2)
    assert [path.name for path in made.images[0, 5]] == ["r5-0.png", "r5-1.png"]
    assert made.images[1, 5].tolist() == [folder / "r5-2.png", None]
    assert trained(made).job_id


def test_an_image_that_is_absent_from_a_bag_counts_for_nothing(bags, drawn):
    cohort = bags()
    model = trained(cohort).model
    table = cohort.frame.drop(columns="ill")
    with pytest.warns(UserWarning, match="47 of 166 images of bags are not in"):
        lost = model.predict(
            table.assign(slices=[[*cell, "lost.png"] for cell in table["slices"]]), image_root=cohort.image_root
        )
    assert np.array_equal(lost, model.predict(cohort))


def test_rows_of_a_study_become_one_bag(bags, drawn):
    _, frame = drawn
    each = pd.DataFrame(
        {
            "study": [f"s{k}" for k in range(ROWS) for i in range(k % 4 + 1)],
            "slices": [f"r{k}-{i}.png" for k in range(ROWS) for i in range(k % 4 + 1) if True],
        }
    )
    of_row = frame.assign(study=[f"s{k}" for k in range(ROWS)])
    table = each.merge(of_row, on="study")
    table.loc[table["study"] == "s7", "age"] = [np.nan, 61.0, np.nan, np.nan]  # written down once
    cohort = bags(table.sample(frac=1, random_state=0), bag="study")
    assert len(cohort) == ROWS
    assert cohort.images.shape == (1, ROWS, 4)
    by_study = dict(zip(cohort.names("study"), range(ROWS), strict=True))
    assert [path.name for path in cohort.images[0, by_study["s2"]] if path] == ["r2-0.png", "r2-1.png", "r2-2.png"]
    assert cohort.numbers("age")[by_study["s7"]] == 61.0
    model = trained(cohort).model
    assert len(model.predict(table, image_root=cohort.image_root)) == ROWS
    cohort.save("studies")
    again = mf.Cohort.read(_folder(cohort))
    assert again.fingerprint == cohort.fingerprint
    assert np.array_equal(again.images, cohort.images)
    older = again.filter("age", at_least=60)
    assert 0 < len(older) < ROWS
    assert {path for path in older.image_paths if path} < {path for path in cohort.image_paths if path}
    with pytest.raises(CohortError, match=r"column 'age' has more than one value in 1 of 48 bags of 'study'"):
        bags(
            table.assign(age=[1.0, *range(len(table) - 1)]).assign(
                age=lambda t: np.where(t["study"] == "s3", t.index, 0.0)
            ),
            bag="study",
        )
    with pytest.raises(CohortError, match="'study' is empty in 1 of"):
        bags(table.assign(study=[None, *table["study"][1:]]), bag="study")


def _folder(cohort):
    from medfusion_jupyter.store import home

    return home() / "datasets" / cohort.fingerprint


def test_images_of_a_large_bag_are_drawn_anew_without_repetition_and_in_their_order():
    slots = np.asarray([[0, 1, 2, 3, 4, 5], [6, -1, 7, -1, -1, -1], [-1] * 6])
    seen = set()
    for seed in range(60):
        drawn = drawn_from_bags(slots, 3, np.random.default_rng(seed))
        assert drawn.shape == (3, 3)
        assert len(set(drawn[0])) == 3
        assert drawn[0].min() >= 0
        assert (np.diff(drawn[0]) > 0).all()
        assert sorted(drawn[1][drawn[1] >= 0]) == [6, 7]
        assert (drawn[2] == -1).all()
        seen.add(tuple(drawn[0]))
    assert len(seen) == 20  # of 6 over 3


def test_settings_that_would_do_nothing_are_refused(views, bags, drawn):
    folder, frame = drawn
    one = mf.Cohort(frame.assign(film=[f"r{k}-0" for k in range(ROWS)]), target="ill", image="film", image_root=folder)
    for cohort, settings, words in (
        (one, {"bag": "max"}, "bag='max' is of bags, and the cohort has one image a row"),
        (views(), {"max_images": 3}, "max_images=3 is of bags"),
        (one, {"shared_encoder": False}, "shared_encoder=False is of several views"),
        (
            bags(),
            {"image_encoder": None, "tabular_encoder": "mlp", "bag": "max"},
            "bag='max' is of images, and image_encoder",
        ),
        (views(), {"image_encoder": None, "shared_encoder": False}, "shared_encoder=False is of images"),
        (bags(), {"mixup": 0.2}, r"mixup=0\.2 mixes two images, and the cohort has bags"),
        (one, {"bag": "maximum"}, "maximum"),
        (one, {"modality_dropout": 1.0}, "modality_dropout=1.0"),
    ):
        with pytest.raises(ConfigError, match=words):
            mf.train(cohort, **{**TINY, **settings})


def test_image_columns_that_make_no_sense_are_refused(views, bags):
    for make, words in (
        (lambda: views(["front", "front"]), "must name a column, or one or more columns that differ"),
        (lambda: views({"a": "front", "b": "front"}), "column 'front' is that of two views"),
        (lambda: views({"table": "front"}), "view cannot be named 'table'"),
        (lambda: views({"a.b": "front"}), r"view cannot be named 'a\.b'"),
        (lambda: views(["front", "sid"]), "no column 'sid' .image.. Did you mean 'side'"),
        (lambda: bags(bag="studdy"), "no column 'studdy' .bag."),
    ):
        with pytest.raises(CohortError, match=words):
            make()


@pytest.mark.parametrize(
    ("name", "value"),
    [("image_root", "films"), ("bag", True), ("window", "lung"), ("mask", "marked"), ("window", (0, 80))],
)
def test_what_is_of_images_is_refused_without_an_image_column(name, value):
    frame = pd.DataFrame({"ill": [0, 1], "age": [50, 60], "marked": ["a.png", "b.png"]})
    with pytest.raises(CohortError, match=f"{name}=.* is of images, and the cohort has no image column"):
        mf.Cohort(frame, target="ill", numeric=["age"], **{name: value})


def test_cohort_and_model_name_their_views_and_bags(views, bags):
    assert re.search(r"front: \d+ images.*, side: \d+ images", repr(views()))
    assert re.search(r"\d+ images in bags of up to \d", repr(bags()))
    assert "light_cnn of front, side" in repr(trained(views()).model)
    assert "light_cnn of bags (max)" in repr(trained(bags(), bag="max").model)


def test_a_model_refuses_a_cohort_with_other_views(views):
    model = trained(views()).model
    with pytest.raises(CohortError, match="learned from the images 'front', 'side', and the cohort has 'image'"):
        model.predict(views("front"))


def test_a_cohort_with_views_and_bags_is_kept_with_its_roles(views, bags):
    for cohort, columns, images in (
        (views({"frontal": "front", "lateral": "side"}), {"front", "side"}, 92),
        (bags(), {"slices"}, 118),
    ):
        cohort.save("kept")
        card = json.loads((_folder(cohort) / "cohort.json").read_text())
        assert card["roles"] == json.loads(json.dumps(cohort.roles()))
        again = mf.Cohort.read(_folder(cohort))
        assert again.roles() == cohort.roles()
        told = analyzed(_folder(cohort))  # as the server tells it, without pandas
        assert {column["name"] for column in told["columns"] if column["role"] == "image"} == columns
        assert told["images"] == {"named": images, "found": images, "absent": 0}
        assert np.array_equal(again.images, cohort.images)
        assert again.fingerprint == cohort.fingerprint


def test_every_image_of_a_row_is_looked_into_by_the_checks(views, bags, drawn, tmp_path):
    folder, _ = drawn
    for cohort in (views(), bags()):
        broken = cohort.image_paths[-1] or next(path for path in reversed(cohort.image_paths) if path)
        content = broken.read_bytes()
        broken.write_bytes(content[:40])
        try:
            found = [one for one in cohort.check().of("images") if one.where == "unreadable files"]
        finally:
            broken.write_bytes(content)
        assert found
        assert found[0].what.startswith("1 of")
    assert folder.exists()


def test_a_cohort_shows_its_views_and_how_many_images_a_bag_has(views, bags):
    shown = views()._repr_html_()
    assert "front: 46 images, 2 rows without" in shown
    assert "side: 46 images, 2 rows without" in shown
    assert shown.count("<img") in range(6, 9)
    shown = bags()._repr_html_()
    assert "118 images in bags of up to 4, 1 row without" in shown
    assert ">+3<" in shown
