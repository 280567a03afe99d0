"""Copy the declarations and the published numbers of the checkout into the sdist and the wheel."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Folder of the checkout, and where it is inside the package.
COPIED = {"benchmarks": "benchmarks", "results/published": "results/published"}


class CopyDeclarations(BuildHookInterface):
    """An sdist already holds the copies inside the package, so a wheel that is built from it needs nothing more."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        checkout = Path(self.root).parents[1]
        package = "src/ssm_bench" if self.target_name == "sdist" else "ssm_bench"
        if version != "editable" and (checkout / "benchmarks").is_dir():
            for source, target in COPIED.items():
                build_data["force_include"][str(checkout / source)] = f"{package}/{target}"
