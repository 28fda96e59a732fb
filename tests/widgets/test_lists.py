"""`mf.jobs()` and its sisters give tidy tables, also of nothing."""

import medfusion as mf


def test_of_nothing_they_have_their_columns():
    for table in (mf.jobs(), mf.models(), mf.datasets(), mf.workflows()):
        assert len(table) == 0
        assert len(table.columns) > 3


def test_jobs_newest_first_with_what_matters(live_run):
    first, second = live_run("one"), live_run("two")
    first.epoch(1, auroc=0.9)
    table = mf.jobs()
    assert list(table.index) == [second.job.job_id, first.job.job_id]
    assert table.loc[first.job.job_id, ["name", "status", "epoch", "best"]].tolist() == ["one", "running", "1/4", 0.9]
    assert list(mf.jobs(search="TWO").index) == [second.job.job_id]
    assert list(mf.jobs(limit=1).index) == [second.job.job_id]
    assert len(mf.jobs(status="failed")) == 0


def test_models_and_datasets_and_workflows(store):
    store.models.register(
        "icu", path="p", file_size=2_000_000, format="f", backbone="b", num_classes=2, input_shape=[],
        metrics={"val/auroc": 0.8, "val/auroc_low": 0.7, "val/auroc_high": 0.9},
    )  # fmt: skip
    store.workflows.create("fuse", nodes=[{"id": "a"}])
    mf.synthetic_cohort(n=20).save("synthetic")
    assert mf.models().iloc[0][["name", "metric", "value", "MB"]].tolist() == ["icu", "AUROC", 0.8, 2.0]
    assert mf.workflows().iloc[0][["name", "nodes"]].tolist() == ["fuse", 1]
    assert mf.datasets().loc["synthetic", "rows"] == 20
