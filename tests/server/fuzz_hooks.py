"""What schemathesis needs to know to reach what is stored: ids and names that are there, archives that can be read."""

import json

import schemathesis
from test_models import archive

ROWS = 5
"""Ids that schemathesis makes up are led to 1 to this number, where rows are."""


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    near = {}
    for name, value in (path_parameters or {}).items():
        digits = str(value).removeprefix("job_")
        if name.endswith("_id") and digits.isascii() and digits.isdigit():
            number = int(digits) % ROWS + 1
            near[name] = f"job_{number:04d}" if name == "job_id" else str(number)
    return {**path_parameters, **near} if near else path_parameters


@schemathesis.hook
def map_body(context, body):
    if not isinstance(body, dict):
        return body
    chosen = len(json.dumps(body, default=str)) % 2
    known = {"dataset": "small", "data_path": "cohort"}
    return {
        key: known[key] if key in known and isinstance(value, str) and chosen else value for key, value in body.items()
    }


@schemathesis.serializer("application/zip")
def zipped(context, value):
    sent = value if isinstance(value, bytes) else str(value).encode(errors="replace")
    return archive() if len(sent) % 2 else sent
