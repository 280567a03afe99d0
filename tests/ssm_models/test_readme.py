"""The code of the README runs."""

import re
from pathlib import Path


def test_the_code_of_the_readme_runs() -> None:
    readme = Path(__file__).parents[2] / "packages" / "ssm-models" / "README.md"
    names: dict = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)), names)
    assert names["logits"].shape == (4, 10)
