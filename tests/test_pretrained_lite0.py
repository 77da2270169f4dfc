"""EfficientNet-Lite0: equal to the PyTorch model that its weights come from."""

import tf_study  # noqa: F401  isort: skip

import math

import numpy as np
import pytest

import nbval_needs
from tf_study.errors import StudyError
from tf_study.pretrained import catalog, lite0, store

PARAMETERS = catalog.find("efficientnet_lite0").parameters


@pytest.fixture(scope="module")
def lite():
    nbval_needs.need("efficientnet_lite0")
    return lite0.efficientnet_lite0()


@pytest.fixture(scope="module")
def flower():
    """scikit-learn's picture of a dahlia, which ImageNet, lacking dahlias, counts among the daisies; pixels 0..255."""
    from sklearn.datasets import load_sample_image

    return load_sample_image("flower.jpg")


# Logits 0, 100, ..., 900 of the PyTorch model that the weights come from (package efficientnet-lite-pytorch 0.1.0),
# computed in its evaluation mode on (x - 127) / 128 of the two pictures below.
REFERENCE = (
    (-1.62435, 3.0314, 0.69502, -1.42811, -0.24319, -0.6034, 0.45804, -1.22214, -1.28997, -0.30137),
    (-2.52621, 1.68959, -0.32469, -0.3536, -1.88769, -0.93015, 2.26488, 1.6361, -2.05479, 0.4958),
)


def test_logits_equal_the_torch_reference(lite, flower):
    crop = flower[100:324, 200:424].astype("float32")
    noise = np.random.default_rng(0).uniform(0, 255, crop.shape).astype("float32")
    logits = lite(np.stack([crop, noise])).numpy()
    np.testing.assert_allclose(logits[:, ::100], REFERENCE, atol=5e-5)
    trainable = sum(math.prod(weight.shape) for weight in lite.trainable_weights)
    assert trainable == PARAMETERS


def test_the_flower_is_a_daisy_unless_the_pixels_are_scaled_twice(lite, flower):
    from PIL import Image

    picture = np.asarray(Image.fromarray(flower).resize((224, 224), Image.BICUBIC), "float32")
    by_mean = (picture / 255 - [0.485, 0.456, 0.406]) / [
        0.229,
        0.224,
        0.225,
    ]  # as torchvision's models want it
    daisy = 985
    assert lite(picture[None]).numpy().argmax() == daisy
    assert lite(by_mean[None].astype("float32")).numpy().argmax() != daisy


def test_features_without_the_top(lite, flower):
    vectors = lite0.efficientnet_lite0(include_top=False, input_shape=(96, 96, 3), pooling="avg")
    maps = lite0.efficientnet_lite0(include_top=False, input_shape=(96, 96, 3))
    assert maps.output_shape == (None, 3, 3, 1280) and vectors.output_shape == (None, 1280)
    crop = flower[100:196, 200:296][None].astype("float32")
    np.testing.assert_allclose(vectors(crop), maps(crop).numpy().mean((1, 2)), atol=1e-5)
    random = lite0.efficientnet_lite0(weights=None)
    assert not np.allclose(random.get_layer("stem").get_weights()[0], lite.get_layer("stem").get_weights()[0])


def test_the_reader_of_old_torch_files_equals_torch():
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    nbval_needs.need("efficientnet_lite0")
    path = store.path("efficientnet_lite0")
    ours, theirs = lite0.read(path), torch.load(path, weights_only=True)
    assert list(ours) == list(theirs)
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value.numpy())


def test_an_old_torch_file_may_hold_views_and_nothing_but_tensors(tmp_path):
    torch = pytest.importorskip("torch", reason="torch는 make advanced가 설치합니다.")
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"whole": whole, "turned": whole.T, "part": whole[1:3, ::2], "number": torch.tensor(7)}
    path = tmp_path / "state.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    for name, value in lite0.read(path).items():
        np.testing.assert_array_equal(value, state[name].numpy())
    content = path.read_bytes()
    for cut in (0, 20, len(content) // 2, len(content) - 3):
        path.write_bytes(content[:cut])
        with pytest.raises(StudyError, match="깨졌거나"):
            lite0.read(path)
    torch.save({"code": print}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(StudyError, match="깨졌거나"):
        lite0.read(path)
