"""Obtain, verify, prepare and batch the data sets of the state space benchmarks.

``DATASETS`` maps each name to a class of options. ``DATASETS[name](...).prepare(place)`` returns the prepared data, and
:func:`ssm_data.batches.loader` makes the loader of their batches. Options and status do not import torch.
"""

from ssm_data.contract import Dataset, Place, Prepared, Spec, Status, default_cache
from ssm_data.datasets.audio_folder import AudioFolder, Beethoven, YouTubeMix
from ssm_data.datasets.bidmc import BIDMC
from ssm_data.datasets.celeba import CelebA
from ssm_data.datasets.cifar import CIFAR
from ssm_data.datasets.enwik8 import Enwik8, Text8
from ssm_data.datasets.forecasting import ECL, ETTHourly, ETTMinutely, Weather
from ssm_data.datasets.hmdb51 import HMDB51
from ssm_data.datasets.image import Image
from ssm_data.datasets.imagenet import ImageNet
from ssm_data.datasets.listops import ListOps
from ssm_data.datasets.mnist import PermutedMNIST, SequentialMNIST
from ssm_data.datasets.pathfinder import Pathfinder, PathX
from ssm_data.datasets.retrieval import Retrieval
from ssm_data.datasets.sc09 import SC09
from ssm_data.datasets.scifar import SequentialCIFAR
from ssm_data.datasets.speech_commands import SpeechCommands10, SpeechCommands35
from ssm_data.datasets.synthetic import Adding, Copying, Delay, Reconstruct
from ssm_data.datasets.text import Text
from ssm_data.datasets.wikitext import WikiText2, WikiText103
from ssm_data.errors import DataError

DATASETS: dict[str, type[Dataset]] = {
    dataset.name: dataset
    for dataset in (
        ListOps,
        Text,
        Retrieval,
        Image,
        Pathfinder,
        PathX,
        SequentialCIFAR,
        SequentialMNIST,
        PermutedMNIST,
        SpeechCommands35,
        SpeechCommands10,
        WikiText103,
        WikiText2,
        Enwik8,
        Text8,
        SC09,
        AudioFolder,
        Beethoven,
        YouTubeMix,
        Copying,
        Adding,
        Delay,
        Reconstruct,
        BIDMC,
        ETTHourly,
        ETTMinutely,
        Weather,
        ECL,
        CIFAR,
        ImageNet,
        CelebA,
        HMDB51,
    )
}

__all__ = ["DATASETS", "DataError", "Dataset", "Place", "Prepared", "Spec", "Status", "default_cache"]
