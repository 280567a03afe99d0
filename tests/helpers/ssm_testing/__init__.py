"""What tests of several packages share; pytest finds it because of ``pythonpath`` in pyproject.toml."""
