"""The gate's limits, and how gates.toml is read, which holds them.

    rules = read_rules(Path("gates.toml"))

The reasons for each limit are in the repository's gates.toml, which holds the same defaults.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from mnistnet.errors import FileError

RULES = Path("gates.toml")  # in the repository's root, where the command is run
MAX_RULES_BYTES = 65_536


@dataclass(frozen=True)
class Rules:
    """The limits, named as in gates.toml."""

    parameters_below: int = 25_000
    course_accuracy: float = 0.95
    accuracy_floor: float = 0.992
    loss_to_champion_points: float = 0.25
    loss_to_best_points: float = 0.35
    corruption_excess_points: float = 4.6
    calibration_error: float = 0.07
    parity_difference: float = 1e-4
    picture_floor: float = 0.96
    picture_kind_floor: float = 0.85
    blank_floor: float = 1.0
    loss_to_champion_picture_points: float = 4.0
    claim_difference: float = 0.0002
    size_ratio: float = 2.0
    latency_ratio: float = 2.0


def read_rules(path: Path | None = None) -> Rules:
    """Read a rules file in TOML; a limit that it leaves out keeps its default.

    Args:
        path: None reads gates.toml in the current folder, or takes the defaults without one.

    Raises:
        FileError: it cannot be read, is not TOML, or holds an unknown name or a bad value.
    """
    if path is None:
        return read_rules(RULES) if RULES.is_file() else Rules()
    try:
        with path.open("rb") as file:
            content = file.read(MAX_RULES_BYTES + 1)
        if len(content) > MAX_RULES_BYTES:
            raise FileError(f"{path}: is larger than {MAX_RULES_BYTES:,} bytes; name a gates.toml")
        values = tomllib.loads(content.decode())
    except OSError as error:
        raise FileError(f"{path}: cannot be read ({error.strerror}); name a gates.toml") from error
    except (ValueError, RecursionError) as error:  # neither UTF-8 nor TOML
        reason = str(error).splitlines()[0]
        raise FileError(f"{path}: is not valid TOML ({reason}); correct it") from None
    known = {f.name: f.default for f in fields(Rules)}
    for name, value in values.items():
        if name not in known:
            raise FileError(f"{path}: knows no rule {name!r:.60}; there are {', '.join(known)}")
        kinds = (int,) if isinstance(known[name], int) else (int, float)
        if type(value) not in kinds or not (math.isfinite(value) and value > 0):
            raise FileError(
                f"{path}: {name} is {value!r:.60}; give a number like {known[name]}, above 0"
            )
    return Rules(**values)
