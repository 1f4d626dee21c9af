"""What is known of a setting beside its type and default, once, where it is declared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """What is known of a field beside its type and default.

    `label` and `unit` name it to a reader, `values` what is shown of a categorical value. `name` is
    what studies and the command line call it: short, or `section.key`. `may_differ`: between the
    members of a pack. `is_axis`: a study may sweep it. `is_named`: a digest depends on it.
    """

    label: str
    unit: str = ""
    name: str = ""
    is_ordered: bool = True
    is_log: bool = False
    may_differ: bool = False
    is_axis: bool = True
    is_named: bool = True
    values: Mapping[str, str] = field(default_factory=dict)
    section: str = ""
    key: str = ""

    @property
    def heading(self) -> str:
        """`latent size (dimensions)`: for the axis of a figure."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


def setting_field(default: Any, label: str, **known: Any) -> Any:
    """A field of a config with what is known of it."""
    return field(default=default, metadata={"setting": Setting(label, **known)})
