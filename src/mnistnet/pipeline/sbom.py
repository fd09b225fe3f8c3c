"""The bill of materials of a training environment, in CycloneDX 1.6 (ECMA-424).

    write_bytes(run.sbom_file, bill_of_materials())

What `mnistnet[train]` requires and what that requires in turn, as installed here: names, versions,
licences, who requires whom. The same environment gives the same bytes: no time, no path, and a
serial number that follows from the content.
"""

from __future__ import annotations

import platform
import uuid
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import mnistnet
from mnistnet.bundle.manifest import json_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import PackageMetadata

MAX_LICENCE_CHARACTERS = 100  # some packages put the whole text there


def bill_of_materials() -> bytes:
    """Give the content of a `sbom.cdx.json`."""
    packages = _required_by("mnistnet", extra="train")
    root = _component("mnistnet", mnistnet.__version__) | {"type": "application"}
    components = {
        name: _component(name, package.metadata["Version"]) | _licence(package.metadata)
        for name, package in sorted(packages.items())
        if name != "mnistnet"
    }
    refs = {name: part["bom-ref"] for name, part in components.items()} | {
        "mnistnet": root["bom-ref"]
    }
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [*components.values(), _python()],
        "dependencies": [
            {"ref": refs[name], "dependsOn": sorted(refs[n] for n in package.requires & set(refs))}
            for name, package in sorted(packages.items())
        ],
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json_bytes(bill).decode())
    return json_bytes(bill | {"serialNumber": serial.urn})


@dataclass
class _Package:
    """An installed package, and the names of those that it requires."""

    metadata: PackageMetadata
    extras: set[str]  # those of its own that are asked for
    requires: set[str] = field(default_factory=set)


def _required_by(name: str, *, extra: str) -> dict[str, _Package]:
    """Find a package with an extra, and what it requires, and what that requires in turn."""
    found: dict[str, _Package] = {}
    waiting = [(name, {extra})]
    while waiting:
        name, extras = waiting.pop()
        if name not in found:
            try:
                found[name] = _Package(metadata(name), extras)
            except PackageNotFoundError:  # mnistnet itself, run from a folder of sources
                continue
        elif extras <= found[name].extras:
            continue
        package = found[name]
        package.extras |= extras
        requirements = dict(_requirements(package))
        package.requires = set(requirements)
        waiting += requirements.items()
    return found


def _requirements(package: _Package) -> Iterator[tuple[str, set[str]]]:
    """Yield what a package requires on this machine: names, and extras of theirs."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    for line in package.metadata.get_all("Requires-Dist") or ():
        requirement = Requirement(line)
        marker, extras = requirement.marker, package.extras | {""}
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield canonicalize_name(requirement.name), requirement.extras


def _component(name: str, version: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name}@{quote(version)}",
    }


def _python() -> dict[str, Any]:
    name, version = platform.python_implementation(), platform.python_version()
    return {"type": "platform", "bom-ref": f"{name}@{version}", "name": name, "version": version}


def _licence(metadata: PackageMetadata) -> dict[str, Any]:
    """Give a package's licence as it states it: an SPDX expression, a name, or nothing."""
    if "License-Expression" in metadata:
        return {"licenses": [{"expression": metadata["License-Expression"]}]}
    named = [c for c in metadata.get_all("Classifier") or () if c.startswith("License ::")]
    (stated,) = (metadata.get_all("License") or [""])[:1]
    name = named[0].split(" :: ")[-1] if named else stated
    if not name or "\n" in name or len(name) > MAX_LICENCE_CHARACTERS:
        return {}
    return {"licenses": [{"license": {"name": name}}]}
