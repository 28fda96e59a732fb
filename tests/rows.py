"""What rows of the store need, for tests that care for something else."""

JOB = {"model_config": {}, "data_config": {}, "training_config": {}, "total_epochs": 1, "watched_metric": "m"}
MODEL = {
    "path": "p",
    "file_size": 1,
    "format": "f",
    "backbone": "b",
    "num_classes": 2,
    "input_shape": [],
    "metrics": {},
}
DATASET = {"data_path": "p", "fingerprint": "f", "num_samples": 1, "num_classes": 1, "class_distribution": {}}
