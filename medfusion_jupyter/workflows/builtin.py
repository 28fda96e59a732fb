"""The node types that the project brings: their ports, their settings, and which function of `nodes.py` each is."""

from __future__ import annotations

from medfusion_jupyter.settings.augmentation import Augmentation
from medfusion_jupyter.settings.preprocessing import TablePreprocessing
from medfusion_jupyter.workflows import node_settings as of
from medfusion_jupyter.workflows.call import Call, Comment, Word
from medfusion_jupyter.workflows.catalogue import Input, NodeType, NoSettings, Output
from medfusion_jupyter.workflows.node_settings import DESIGN

THE_COHORT = {"cohort": ""}
COHORT = Output("cohort", "cohort")
OF_COHORT = Input("cohort", "cohort")
SPLIT = Output("split", "split")
MODEL = Input("model", "model")
OF_DESIGN = Input(
    "design",
    "design",
    "a head with its fusion and encoders, in place of these settings",
    required=False,
    replaces=DESIGN,
)
OF_AUGMENTATION = Input(
    "augmentation", "augmentation", "in place of the setting augment", required=False, replaces=("augment",)
)


def _run(function: str) -> str:
    return f"medfusion_jupyter.workflows.nodes:{function}"


SOURCES = (
    NodeType(
        "source.csv",
        "Sources",
        "CSV and images",
        "A table of patients with the images that a column names: PNG, JPEG, TIFF, DICOM, NIfTI or NumPy files.",
        _run("csv"),
        outputs=(COHORT,),
        settings=of.CsvSettings,
        always=True,
        code=Call("mf.Cohort", by_place=("table",), outputs=THE_COHORT),
    ),
    NodeType(
        "source.dicom",
        "Sources",
        "DICOM folder",
        "The DICOM files of a folder, what their headers say, and a table of labels.",
        _run("dicom_folder"),
        outputs=(COHORT,),
        settings=of.DicomFolderSettings,
        always=True,
        code=Call("mf.read_dicom_folder", by_place=("folder", "labels"), outputs=THE_COHORT),
    ),
    NodeType(
        "source.dataset",
        "Sources",
        "Stored dataset",
        "A cohort that was stored under a name.",
        _run("stored_dataset"),
        outputs=(COHORT,),
        settings=of.DatasetSettings,
        always=True,
        code=Call("mf.Cohort.load", by_place=("name",), outputs=THE_COHORT),
    ),
    NodeType(
        "source.public",
        "Sources",
        "Public cohort",
        "A published data set, downloaded once, with its checksum and licence.",
        _run("public"),
        outputs=(COHORT,),
        settings=of.PublicSettings,
        code=Call("mf.public_cohort", by_place=("name",), outputs=THE_COHORT),
    ),
    NodeType(
        "source.medmnist",
        "Sources",
        "MedMNIST file",
        "The images or volumes and the labels of a file of MedMNIST, with its published split in the column `split`.",
        _run("medmnist"),
        outputs=(COHORT,),
        settings=of.MedMnistSettings,
        always=True,
        code=Call("mf.read_medmnist", by_place=("path",), outputs=THE_COHORT),
    ),
    NodeType(
        "source.synthetic",
        "Sources",
        "Synthetic cohort",
        "Patients with an image and a laboratory value whose best possible AUROC is known.",
        _run("synthetic"),
        outputs=(COHORT,),
        settings=of.SyntheticSettings,
        code=Call("mf.synthetic_cohort", outputs=THE_COHORT),
    ),
)
COHORTS = (
    NodeType(
        "cohort.filter",
        "Cohort",
        "Filter rows",
        "Keep the rows whose value in a column is within bounds or among some.",
        _run("filtered"),
        inputs=(OF_COHORT,),
        outputs=(COHORT,),
        settings=of.FilterSettings,
        code=Call(".filter", {"cohort": None}, ("column",), THE_COHORT),
    ),
    NodeType(
        "cohort.derive",
        "Cohort",
        "Derive column",
        "A numeric column made of others, to learn from. Whoever predicts later needs the column in the new table too.",
        _run("derived"),
        inputs=(OF_COHORT,),
        outputs=(COHORT,),
        settings=of.DeriveSettings,
        code=Call(".derive", {"cohort": None}, ("name", "formula"), THE_COHORT),
    ),
    NodeType(
        "cohort.preprocess_images",
        "Cohort",
        "Preprocess images",
        "Crop, window, equalise (CLAHE), resize and normalise. A model keeps it for what it predicts; masks are cropped alike.",
        _run("images_preprocessed"),
        inputs=(OF_COHORT,),
        outputs=(COHORT,),
        settings=of.ImagePreprocessingSettings,
        code=Call(".preprocess_images", {"cohort": None}, outputs=THE_COHORT),
    ),
    NodeType(
        "cohort.preprocess_table",
        "Cohort",
        "Preprocess table",
        "How missing values, outliers, scales and rare categories are treated; learned from the training part alone.",
        _run("table_preprocessed"),
        inputs=(OF_COHORT,),
        outputs=(COHORT,),
        settings=TablePreprocessing,
        code=Call(".preprocess_table", {"cohort": None}, outputs=THE_COHORT),
    ),
    NodeType(
        "cohort.check",
        "Cohort",
        "Check",
        "Look for leakage, shortcuts, duplicates and unreadable images before training.",
        _run("checked"),
        inputs=(OF_COHORT,),
        outputs=(Output("findings", "findings"),),
        settings=of.CheckSettings,
        gate=lambda settings: settings.stop_at != "never",
        code=Call(".check", {"cohort": None}, outputs={"findings": ""}),
    ),
    NodeType(
        "cohort.split",
        "Cohort",
        "Split by patient",
        "Training, validation and test part that share no patient, each with every class.",
        _run("split"),
        inputs=(OF_COHORT,),
        outputs=(SPLIT,),
        settings=of.SplitSettings,
        code=Call(".split", {"cohort": None}, outputs={"split": ""}),
    ),
    NodeType(
        "cohort.split_by",
        "Cohort",
        "Published split",
        "The parts that a column of the table names.",
        _run("split_by"),
        inputs=(OF_COHORT,),
        outputs=(SPLIT,),
        settings=of.SplitByColumnSettings,
        code=Call(".split_by", {"cohort": None}, ("column",), {"split": ""}),
    ),
)
MODELS = (
    NodeType(
        "model.augmentation",
        "Model",
        "Augmentation",
        "How far images are changed in training; each change is drawn anew for each image.",
        _run("augmentation"),
        outputs=(Output("augmentation", "augmentation"),),
        settings=Augmentation,
        code=Call("mf.Augmentation", outputs={"augmentation": ""}),
    ),
    NodeType(
        "model.image_encoder",
        "Model",
        "Image encoder",
        "The network that an image goes through.",
        _run("image_encoder"),
        outputs=(Output("encoder", "encoder"),),
        settings=of.ImageEncoderSettings,
        code=Word("name", "image_encoder"),
    ),
    NodeType(
        "model.table_encoder",
        "Model",
        "Table encoder",
        "The network that a row of the table goes through.",
        _run("table_encoder"),
        outputs=(Output("encoder", "encoder"),),
        settings=of.TableEncoderSettings,
        code=Word("name", "tabular_encoder"),
    ),
    NodeType(
        "model.fusion",
        "Model",
        "Fusion",
        "How the encoders' features become one. With one encoder its features pass as they are.",
        _run("fusion"),
        inputs=(Input("encoders", "encoder", "one of each modality at most", several=True, distinct=True),),
        outputs=(Output("fused", "fused"),),
        settings=of.FusionSettings,
        code=Word("name", "fusion"),
    ),
    NodeType(
        "model.head",
        "Model",
        "Head",
        "What the model predicts, and the loss that it learns by.",
        _run("head"),
        inputs=(Input("fused", "fused"),),
        outputs=(Output("design", "design"),),
        settings=of.HeadSettings,
        code=Word("name", "head"),
    ),
    NodeType(
        "model.register",
        "Model",
        "Name a version",
        "Give the trained version an alias, such as production: mf.load_model(name, alias=…) finds it.",
        _run("register"),
        inputs=(MODEL,),
        outputs=(Output("model", "model", "the same model"),),
        settings=of.RegisterSettings,
        always=True,
        code=Call(".set_alias", {"model": None}, ("alias",), {"model": ""}),
    ),
)
TRAINING = (
    NodeType(
        "train",
        "Training",
        "Train",
        "Train a model that fuses image and table. It is a training job as any other: it can be watched, stopped and resumed.",
        _run("train"),
        inputs=(Input("split", "split"), OF_DESIGN, OF_AUGMENTATION),
        outputs=(Output("model", "model", "at its best epoch"),),
        settings=of.TrainSettings,
        device=True,
        code=Call("mf.train", {"split": None, "augmentation": "augment"}, outputs={"model": ".model"}, then=".wait()"),
    ),
    NodeType(
        "cross_validate",
        "Training",
        "Cross-validate",
        "Train once a fold, by patient, and test each on what it has not seen. Each fold is a training job.",
        _run("cross_validation"),
        inputs=(OF_COHORT, OF_DESIGN, OF_AUGMENTATION),
        outputs=(Output("folds", "cross_validation"),),
        settings=of.CrossValidateSettings,
        device=True,
        code=Call(
            "mf.cross_validate", {"cohort": None, "augmentation": "augment"}, outputs={"folds": ""}, then=".wait()"
        ),
    ),
)
EVALUATION = (
    NodeType(
        "evaluate",
        "Evaluation",
        "Evaluate",
        "The metrics of the target, each with its 95 % interval.",
        _run("evaluate_model"),
        inputs=(
            MODEL,
            Input("cohort", "cohort", "another cohort with the same columns, used whole", required=False),
        ),
        outputs=(Output("evaluation", "evaluation"),),
        settings=of.EvaluateSettings,
        device=True,
        code=Call("mf.evaluate", {"model": None, "cohort": None}, outputs={"evaluation": ""}),
    ),
    NodeType(
        "predict",
        "Evaluation",
        "Predict",
        "The probability of each class for each row of a cohort.",
        _run("predict"),
        inputs=(MODEL, OF_COHORT),
        outputs=(Output("predictions", "predictions"),),
        settings=NoSettings,
        device=True,
        code=Call(".predict", {"model": None, "cohort": None}, outputs={"predictions": ""}),
    ),
)
EXPORT = (
    NodeType(
        "model.export",
        "Export",
        "Export model",
        "An archive of weights and description, which another MedFusion takes in, or ONNX for any runtime.",
        _run("export_model"),
        inputs=(MODEL,),
        settings=of.ModelExportSettings,
        always=True,
        code=Call(".export", {"model": None}, ("path",)),
    ),
    NodeType(
        "predictions.export",
        "Export",
        "Export predictions",
        "A CSV with a row for each row of the cohort and a column for each class.",
        _run("export_predictions"),
        inputs=(Input("predictions", "predictions"),),
        settings=of.ExportSettings,
        always=True,
        code=Call(".to_csv", {"predictions": None}, ("path",), constants={"index": False}),
    ),
    NodeType(
        "note",
        "Notes",
        "Note",
        "A text beside the nodes.",
        _run("note"),
        settings=of.NoteSettings,
        code=Comment("text"),
    ),
)
BUILTIN = (*SOURCES, *COHORTS, *MODELS, *TRAINING, *EVALUATION, *EXPORT)
