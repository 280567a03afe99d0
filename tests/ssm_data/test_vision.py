"""Views: mixed images, and a generator that is seeded for one example."""

import torch
from ssm_data import vision


def test_mixed_images_are_mixed_as_their_classes():
    """In a batch of constant images the share of a class is that of its value (mixup) or of its area (CutMix)."""
    mix = vision.mixed(classes=4)
    values = torch.tensor([0.0, 1.0, 2.0, 3.0])
    images, classes = values[:, None, None, None].expand(4, 1, 40, 40).clone(), torch.arange(4)
    kinds = set()
    for seed in range(30):
        with vision.seeded(seed):
            x, y = mix(images.clone(), classes)
        torch.testing.assert_close(x.mean(dim=(1, 2, 3)), (y * values).sum(1), atol=1e-4, rtol=0)
        torch.testing.assert_close(y.sum(1), torch.ones(4))
        kinds.add(bool((x == x.round()).all()))
    assert kinds == {True, False}


def test_seeded_is_a_function_of_its_numbers():
    def draw(*numbers):
        with vision.seeded(*numbers):
            return torch.rand(4).tolist()

    assert draw(1, 2) == draw(1, 2)
    assert len({tuple(draw(*numbers)) for numbers in ((1, 2), (2, 1), (1, 2, 3), (1, 3), (2**40, 1))}) == 5
