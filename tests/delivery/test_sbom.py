"""The bill of materials: what could have had a hand in training, in a form that tools read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import version
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from mnistnet.pipeline.sbom import bill_of_materials


@pytest.fixture(scope="module")
def bill() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bill_of_materials())
    return found


def test_it_is_valid_by_the_schema_of_cyclonedx() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(bill_of_materials().decode()) is None
    broken = bill_of_materials().decode().replace('"type": "library"', '"type": "book"')
    assert validator.validate_str(broken) is not None


def test_it_names_every_package_that_training_requires_with_its_installed_version(
    bill: dict[str, Any],
) -> None:
    found = {part["name"]: part["version"] for part in bill["components"]}
    for name in ("torch", "numpy", "safetensors", "onnx", "mpmath"):  # mpmath: torch's sympy's
        assert found[name] == version(name)
    assert found["CPython"] == sys.version.split()[0]
    assert "pytest" not in found
    assert "model-signing" not in found


def test_its_graph_says_who_requires_whom(bill: dict[str, Any]) -> None:
    graph = {entry["ref"].split("@")[0]: entry["dependsOn"] for entry in bill["dependencies"]}
    assert f"torch@{version('torch')}" in graph["mnistnet"]
    assert f"sympy@{version('sympy')}" in graph["torch"]
    named = {part["bom-ref"] for part in bill["components"]}
    assert {ref for refs in graph.values() for ref in refs} <= named


def test_packages_have_addresses_and_licences(bill: dict[str, Any]) -> None:
    torch = next(part for part in bill["components"] if part["name"] == "torch")
    assert torch["purl"] == f"pkg:pypi/torch@{version('torch').replace('+', '%2B')}"
    without = [part["name"] for part in bill["components"] if "licenses" not in part]
    assert without == ["CPython"]


def test_another_process_elsewhere_makes_the_same_bytes(tmp_path: object) -> None:
    code = "import sys; from mnistnet.pipeline.sbom import bill_of_materials as bill;"
    code += "sys.stdout.buffer.write(bill())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=str(tmp_path), capture_output=True, check=True
    )
    assert done.stdout == bill_of_materials()


def test_it_tells_no_path_no_time_and_no_host(bill: dict[str, Any]) -> None:
    text = json.dumps({key: value for key, value in bill.items() if key != "$schema"})
    assert not re.search(r"://|file:|/home|/tmp|site-packages|\\\\|\d{4}-\d\d-\d\dT", text)
    assert "timestamp" not in text
