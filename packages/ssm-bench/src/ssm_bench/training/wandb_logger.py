"""The W&B logger of a run: each cell has a W&B run of its own, which is offline if W&B cannot be reached."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

#: If W&B does not answer within this many seconds, the run is logged offline.
PATIENCE_SECONDS = 20


def make_logger(
    folder: Path, project: str, name: str, run_id: str, config: dict[str, Any], say: Callable[[str], None]
) -> WandbLogger:
    """Return the logger of one W&B run. A run that is resumed continues its W&B run.

    If ``WANDB_MODE`` is set, it decides how to log. Otherwise a run is online if there is an API key and W&B answers,
    else offline.

    Args:
        say: called with a sentence if there is an API key, but the run is logged offline.
    """
    import wandb

    options: dict[str, Any] = {
        "project": project,
        "name": name,
        "id": run_id,
        "save_dir": folder,
        "config": config,
        "resume": "allow",
    }
    if os.environ.get("WANDB_MODE"):
        return WandbLogger(**options)
    if not wandb.login(prompt=False, verify=False):
        return WandbLogger(**options, mode="offline")
    logger = WandbLogger(**options, settings=wandb.Settings(init_timeout=PATIENCE_SECONDS), mode="online")
    try:
        logger.experiment  # noqa: B018  W&B connects here.
    except Exception as error:
        # W&B has an API key but cannot be reached or refuses it; a run must not fail for that.
        wandb.teardown()
        say(
            f"W&B does not answer ({str(error).splitlines()[0]}), so this run is logged offline; send it later with "
            f"wandb sync {folder}/wandb/offline-*."
        )
        return WandbLogger(**options, mode="offline")
    return logger


def finish() -> None:
    """End the W&B run of this process, so that the next cell begins its own."""
    import wandb

    wandb.finish()
