#!/usr/bin/env bash
# The CycloneDX library reads a valid bill of materials for a model and loses what makes it one.
#
# CycloneDX 1.6 has modelCard (task, data sets, limits) for components of type machine-learning-model, and data
# (contents, classification) for components of type data. cyclonedx-python-lib knows both component types and its
# own strict validator accepts the document. Reading and writing it keeps names and types and drops
# both fields without a word; the result is valid again, so a check after the round trip sees nothing either.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"${PYTHON:-python3}" -m venv env
env/bin/pip install --quiet --disable-pip-version-check 'cyclonedx-python-lib[json-validation]==11.12.0'

cat >probe.py <<'PY'
import json
from importlib.metadata import version

from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

model = {
    "type": "machine-learning-model",
    "name": "chair-maker",
    "bom-ref": "model",
    "modelCard": {
        "modelParameters": {"task": "text-to-3d", "datasets": [{"ref": "chairs"}]},
        "considerations": {"technicalLimitations": ["chairs only"]},
    },
}
chairs = {
    "type": "data",
    "name": "chairs",
    "bom-ref": "chairs",
    "data": [{"type": "dataset", "classification": "public"}],
}
document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": [model, chairs]}


def show(label, bom):
    valid = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)) is None
    print(f"  {label}: valid {valid}")
    for component in sorted(bom["components"], key=lambda entry: entry["name"]):
        print("   ", component["name"], sorted(component))


print("cyclonedx-python-lib", version("cyclonedx-python-lib"))
show("before", document)
show("after", json.loads(JsonV1Dot6(Bom.from_json(document)).output_as_string()))
PY

cat >expected <<'END'
cyclonedx-python-lib 11.12.0
  before: valid True
    chair-maker ['bom-ref', 'modelCard', 'name', 'type']
    chairs ['bom-ref', 'data', 'name', 'type']
  after: valid True
    chair-maker ['bom-ref', 'name', 'type']
    chairs ['bom-ref', 'name', 'type']
END

env/bin/python probe.py | tee observed
diff -u expected observed || { echo "changed: this finding no longer holds as written"; exit 1; }
echo "unchanged"
