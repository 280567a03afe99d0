"""Data sets of the state space benchmarks: obtained, verified, prepared, batched.

``DATASETS`` maps names to classes of options; ``DATASETS[name](...).prepare(place)`` gives the prepared
data and :func:`ssm_data.batches.loader` its batches. Options and status need no torch.
"""

from ssm_data.aan import Retrieval
from ssm_data.bidmc import BIDMC
from ssm_data.celeba import CelebA
from ssm_data.characters import Enwik8, Text8
from ssm_data.cifar import CIFAR, Image, SequentialCIFAR
from ssm_data.contract import Dataset, Place, Prepared, Spec, Status, default_cache
from ssm_data.errors import DataError
from ssm_data.forecasting import ECL, ETTHourly, ETTMinutely, Weather
from ssm_data.hmdb import HMDB51
from ssm_data.imagenet import ImageNet
from ssm_data.imdb import Text
from ssm_data.listops import ListOps
from ssm_data.mnist import PermutedMNIST, SequentialMNIST
from ssm_data.pathfinder import Pathfinder, PathX
from ssm_data.sounds import SC09, AudioFolder, Beethoven, YouTubeMix
from ssm_data.speech_commands import SpeechCommands10, SpeechCommands35
from ssm_data.synthetic import Adding, Copying, Delay, Reconstruct
from ssm_data.wikitext import WikiText2, WikiText103

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
