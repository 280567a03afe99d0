"""Speech Commands: official and seeded splits, padding, standardisation, coefficients, lower rates, lost samples."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
from ssm_data import DataError, Place, downloads
from ssm_data.collate import collate
from ssm_data.datasets import speech_commands
from ssm_data.datasets.speech_commands import COMMANDS, WORDS, SpeechCommands10, SpeechCommands35, stratified

CLIPS = 6  # of each word; the last one is short, the first in the validation list, the second in the testing list
SHORT = 12_345
RNG = np.random.default_rng(0)
WAVES = {
    f"{word}/{number:08x}_nohash_{number % 2}.wav": RNG.normal(0, 3000, 16_000 if number < CLIPS - 1 else SHORT).astype(
        np.int16
    )
    for word in WORDS
    for number in range(CLIPS)
}


def wav(samples, rate=16_000):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


FILES = {name: wav(samples) for name, samples in WAVES.items()}
FILES["_background_noise_/white.wav"] = wav(np.zeros(40_000, dtype=np.int16))
FILES["validation_list.txt"] = "\n".join(sorted(WAVES)[0::CLIPS]).encode()
FILES["testing_list.txt"] = "\n".join(sorted(WAVES)[1::CLIPS]).encode()


@pytest.fixture(autouse=True)
def _published(monkeypatch):
    monkeypatch.setattr(speech_commands, "PUBLISHED35", {"train": 35 * 4, "val": 35, "test": 35})
    monkeypatch.setattr(speech_commands, "PUBLISHED10", 10 * (CLIPS - 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("data"))


def write_folder(root, files=FILES):
    for name, content in files.items():
        path = root / "speech_commands_v0.02" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_archive(root, files):
    root.mkdir()
    with tarfile.open(root / "speech_commands_v0.02.tar.gz", "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return root


def prepare(dataset, data, tmp_path):
    return dataset.prepare(Place(data, tmp_path / "cache"), progress=False)


def padded(name):
    return np.pad(WAVES[name].astype(np.float64), (0, 16_000 - len(WAVES[name])))


def test_official_splits_and_standardised_samples(folder, tmp_path):
    prepared = prepare(SpeechCommands35(), folder, tmp_path)
    spec = prepared.spec
    assert (spec.sizes, spec.l_max) == ({"train": 140, "val": 35, "test": 35}, 16_000)
    assert (spec.d_input, spec.d_output) == (1, 35)
    names = sorted(WAVES)
    train = [name for i, name in enumerate(names) if i % CLIPS > 1]
    samples = np.stack([padded(name) for name in train]) / 2**30
    mean, std = samples.mean(), samples.std() + 1e-5
    for split, members in (("train", train), ("val", names[0::CLIPS]), ("test", names[1::CLIPS])):
        for number in (0, 3, len(members) - 1):
            x, label = prepared.split(split)[number]
            assert WORDS[label] == members[number].split("/")[0]
            np.testing.assert_allclose(x[:, 0], (padded(members[number]) / 2**30 - mean) / std, atol=1e-5)


def test_an_archive_in_any_order_gives_the_same_data(folder, tmp_path):
    backwards = write_archive(tmp_path / "archive", dict(reversed(FILES.items())))
    for dataset in (SpeechCommands35(), SpeechCommands10()):
        assert prepare(dataset, backwards, tmp_path / "1").spec == prepare(dataset, folder, tmp_path / "2").spec


def test_ten_commands_leave_out_short_clips(folder, tmp_path):
    prepared = prepare(SpeechCommands10(), folder, tmp_path)
    assert sum(prepared.spec.sizes.values()) == 50
    assert prepared.spec.d_output == 10
    x = np.stack([prepared.split("train")[i][0] for i in range(prepared.spec.sizes["train"])])
    assert abs(x.mean()) < 1e-4
    assert x.std() == pytest.approx(1, abs=1e-3)
    seen = [prepared.split(split).index for split in ("train", "val", "test")]
    assert len(np.unique(np.concatenate(seen))) == 50
    names = sorted(name for name in WAVES if name.split("/")[0] in COMMANDS)
    for i, row in enumerate(prepared.split("test").index):
        x, label = prepared.split("test")[i]
        assert COMMANDS[label] == names[row].split("/")[0]
        assert np.corrcoef(x[:, 0], WAVES[names[row]])[0, 1] > 0.9999


def test_classes_keep_their_shares():
    labels = RNG.permutation(np.repeat(np.arange(4), [1000, 500, 301, 20]))
    rows = np.arange(5000, 5000 + len(labels))
    splits = stratified(rows, labels)
    assert sorted(np.concatenate(list(splits.values())).tolist()) == rows.tolist()
    for split, share in (("train", 0.7), ("val", 0.15), ("test", 0.15)):
        counts = np.bincount(labels[splits[split] - 5000])
        np.testing.assert_allclose(counts, share * np.array([1000, 500, 301, 20]), atol=1)


def test_each_coefficient_is_standardised(folder, tmp_path):
    prepared = prepare(SpeechCommands10(mfcc=True), folder, tmp_path)
    assert (prepared.spec.l_max, prepared.spec.d_input) == (161, 20)
    x = np.stack([prepared.split("train")[i][0] for i in range(prepared.spec.sizes["train"])])
    np.testing.assert_allclose(x.mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(x.std((0, 1)), 1, atol=1e-2)


def test_coefficients_follow_their_formula():
    """Frame 7 of one wave in float64: power spectrum, mel triangles, logarithm, orthonormal cosine transform."""
    wave = next(iter(WAVES.values()))
    power = np.abs(np.fft.rfft(wave[600:800] / 2**15 * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(200) / 200)))) ** 2
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 66) / 2595) - 1)
    bins = np.linspace(0, 8000, 101)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    bands = np.log(np.maximum(0, np.minimum(rising, falling)) @ power + 1e-6)
    k, n = np.arange(20)[:, None], np.arange(64)
    expected = np.sqrt(2 / 64) * np.cos(np.pi / 64 * (n + 0.5) * k) @ bands
    expected[0] /= np.sqrt(2)
    found = speech_commands.audio.mfcc(wave[None], 16_000)[0, 7]
    np.testing.assert_allclose(found, expected, atol=5e-3)


@pytest.mark.parametrize("step", [2, 3])
def test_a_lower_rate_takes_every_rth_sample(folder, tmp_path, step):
    prepared = prepare(SpeechCommands10(dropped=30), folder, tmp_path)
    slow = prepared.downsampled(step)
    for split in ("train", "test"):
        for fast_x, slow_x in ((prepared.split(split)[i], slow.split(split)[i]) for i in range(3)):
            np.testing.assert_array_equal(slow_x[0], fast_x[0][::step])
            assert slow_x[1] == fast_x[1]
    assert slow.spec.l_max == slow.split("test")[0][0].shape[0] == -(-16_000 // step)
    assert slow.spec.fingerprint != prepared.spec.fingerprint
    assert collate([slow.split("test")[0]], slow.spec).x.shape == (1, slow.spec.l_max, 2)


def test_dropped_samples_read_zero_and_are_marked(folder, tmp_path):
    whole = prepare(SpeechCommands10(), folder, tmp_path)
    lossy = prepare(SpeechCommands10(dropped=70), folder, tmp_path)
    assert lossy.spec.d_input == 2
    assert lossy.spec.fingerprint != whole.spec.fingerprint
    masks = []
    for i in range(4):
        x, _ = lossy.split("test")[i]
        np.testing.assert_array_equal(x, lossy.split("test")[i][0])
        there = x[:, 1] == 1
        assert there.sum() == 16_000 - 11_200
        assert set(np.unique(x[:, 1])) == {0, 1}
        assert not x[~there, 0].any()
        np.testing.assert_array_equal(x[there, 0], whole.split("test")[i][0][there, 0])
        masks.append(there)
    assert not np.array_equal(masks[0], masks[1])
    with pytest.raises(ValueError, match="dropped is 100"):
        SpeechCommands10(dropped=100)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"go/00000002_nohash_0.wav": b"RIFFgarbage"}, r"go/00000002_nohash_0.wav cannot be read as sound"),
        ({"go/00000002_nohash_0.wav": wav(np.zeros(8000, dtype=np.int16), 8000)}, r"1 channel at 8,000 Hz"),
        ({"go/00000002_nohash_0.wav": wav(np.zeros(17_000, dtype=np.int16))}, r"lasts 17,000 samples"),
        ({"go/0.wav": wav(np.zeros(16_000, dtype=np.int16))}, r"141 in train \(not 140\)"),
    ],
)
def test_broken_clips_are_named(tmp_path, change, message):
    with pytest.raises(DataError, match=message):
        prepare(SpeechCommands35(), write_folder(tmp_path / "data", FILES | change), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_an_archive_without_a_list_is_refused(tmp_path):
    files = {name: content for name, content in FILES.items() if name != "testing_list.txt"}
    with pytest.raises(DataError, match=r"lacks testing_list\.txt"):
        prepare(SpeechCommands35(), write_archive(tmp_path / "data", files), tmp_path)


def test_without_network_the_archive_is_named(tmp_path, monkeypatch):
    def offline(source, folder, progress):
        raise DataError("no network.")

    monkeypatch.setattr(downloads, "download", offline)
    with pytest.raises(DataError, match=r"no network\. Get .*speech_commands_v0\.02\.tar\.gz \(2,428,923,189 bytes\)"):
        prepare(SpeechCommands35(), None, tmp_path)


@pytest.mark.parametrize("name", ["testing_list.txt", "validation_list.txt"])
@pytest.mark.parametrize("line", ["go", "went/1.wav", "go/1.txt", "go/../1.wav", "\udcff/1.wav", "<html>"])
def test_a_bad_line_of_a_list_is_named(tmp_path, name, line):
    content = FILES[name].rstrip() + b"\n" + line.encode("utf-8", "surrogateescape")
    number = len(content.split())
    with pytest.raises(DataError, match=rf"Line {number} of {name} in .* names no clip"):
        prepare(SpeechCommands35(), write_folder(tmp_path / "data", FILES | {name: content}), tmp_path)
    assert not list((tmp_path / "cache").rglob("*.npy"))
