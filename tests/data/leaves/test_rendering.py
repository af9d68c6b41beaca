import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from full_scale import other_edition

from helpers.course.errors import UserError
from helpers.data import leaves
from helpers.data.leaves.species import SPECIES

ROOT = Path(__file__).resolve().parents[3]
PLANTVILLAGE = """
Apple___Apple_scab|Apple___Black_rot|Apple___Cedar_apple_rust|Apple___healthy|Blueberry___healthy|
Cherry_(including_sour)___Powdery_mildew|Cherry_(including_sour)___healthy|
Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot|Corn_(maize)___Common_rust_|
Corn_(maize)___Northern_Leaf_Blight|Corn_(maize)___healthy|Grape___Black_rot|Grape___Esca_(Black_Measles)|
Grape___Leaf_blight_(Isariopsis_Leaf_Spot)|Grape___healthy|Orange___Haunglongbing_(Citrus_greening)|
Peach___Bacterial_spot|Peach___healthy|Pepper,_bell___Bacterial_spot|Pepper,_bell___healthy|
Potato___Early_blight|Potato___Late_blight|Potato___healthy|Raspberry___healthy|Soybean___healthy|
Squash___Powdery_mildew|Strawberry___Leaf_scorch|Strawberry___healthy|Tomato___Bacterial_spot|
Tomato___Early_blight|Tomato___Late_blight|Tomato___Leaf_Mold|Tomato___Septoria_leaf_spot|
Tomato___Spider_mites Two-spotted_spider_mite|Tomato___Target_Spot|Tomato___Tomato_Yellow_Leaf_Curl_Virus|
Tomato___Tomato_mosaic_virus|Tomato___healthy
""".replace("\n", "").split("|")


def digest(images):
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


# ---- names


def test_classes_are_plantvillage_less_the_single_class_crops():
    assert len(PLANTVILLAGE) == 38
    crops = [name.split("___")[0] for name in PLANTVILLAGE]
    assert leaves.CLASSES == [name for name, c in zip(PLANTVILLAGE, crops) if crops.count(c) > 1]
    assert len(set(leaves.CLASSES)) == 33 and leaves.CLASSES == sorted(leaves.CLASSES)


def test_crop_and_disease():
    assert leaves.crop("Pepper,_bell___Bacterial_spot") == "Pepper"
    assert leaves.crop("Cherry_(including_sour)___healthy") == "Cherry"
    assert leaves.disease("Corn_(maize)___Common_rust_") == "Common rust"
    assert leaves.disease("Tomato___healthy") == "healthy"
    assert {leaves.crop(name) for name in leaves.CLASSES} == set(SPECIES)


@pytest.mark.parametrize("edition", [str, other_edition])
def test_the_folders_of_both_editions_are_found(edition):
    there = [edition(name) for name in [*PLANTVILLAGE, "Background_without_leaves"]]
    assert leaves.folders(reversed(there)) == [edition(name) for name in leaves.CLASSES]
    assert edition is str or sum(a != b for a, b in zip(leaves.folders(there), leaves.CLASSES)) == 6
    gone = [edition("Corn_(maize)___Common_rust_"), "Tomato___Leaf_Mold"]
    with pytest.raises(UserError, match=r"2 of 33 are missing: Corn.*rust_, Tomato___Leaf_Mold; point"):
        leaves.folders([name for name in there if name not in gone])
    with pytest.raises(UserError, match="33 of 33 are missing: Apple___Apple_scab, .*, ...; point"):
        leaves.folders(["train", "val"])


# ---- reproducible


@pytest.mark.parametrize("domain", leaves.DOMAINS)
def test_same_bytes_in_another_process(domain):
    images, labels = leaves.dataset(2, 5, domain)
    code = f"""
import hashlib, cv2, numpy as np
cv2.setNumThreads(4)
from helpers.data import leaves
leaves.render(7, 123, "field", 96), leaves.layers(3, 4)         # what was drawn before must not matter
images, labels = leaves.dataset(2, 5, {domain!r})
print(hashlib.sha256(images.tobytes()).hexdigest(), hashlib.sha256(labels.tobytes()).hexdigest())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "99", "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.split() == [digest(images), digest(labels)]


def test_pictures_have_not_changed():
    """Recorded results rest on these pictures: mean colours, written down once, to within one grey level."""
    known = {
        ("lab", 0): (114.8, 117.5, 76.3),
        ("lab", 7): (103.3, 132.3, 59.6),
        ("lab", 12): (102.1, 114.5, 87.4),
        ("lab", 21): (120.7, 141.8, 120.4),
        ("lab", 30): (121.3, 117.1, 96.8),
        ("field", 0): (81.5, 86.0, 62.8),
        ("field", 7): (72.5, 86.8, 45.1),
        ("field", 12): (141.6, 147.5, 88.7),
        ("field", 21): (78.4, 88.7, 69.3),
        ("field", 30): (110.4, 110.9, 82.4),
    }
    for (domain, c), colour in known.items():
        assert leaves.render(c, 2024, domain).mean((0, 1)) == pytest.approx(colour, abs=1.0), (domain, c)


def test_dataset_layout():
    images, labels = leaves.dataset(2, 3, "field", 48)
    assert images.shape == (66, 3, 48, 48) and images.dtype == np.uint8
    assert labels.dtype == np.int64 and labels.tolist() == list(range(33)) * 2
    one = leaves.render(leaves.CLASSES[8], 3, "field", 48, index=1)
    assert np.array_equal(images[33 + 8].transpose(1, 2, 0), one)
    assert np.array_equal(leaves.dataset(1, 3, "field", 48)[0], images[:33])  # a prefix


def test_seeds_indices_and_domains_are_disjoint():
    pictures = [p for seed in (0, 1, 2) for d in leaves.DOMAINS for p in leaves.dataset(2, seed, d, 32)[0]]
    assert len({digest(p) for p in pictures}) == len(pictures) == 3 * 2 * 66


def test_no_global_random_state():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    a = leaves.render(0, 0, "field")
    assert np.array_equal(before, np.random.get_state()[1])
    np.random.seed(1)
    assert np.array_equal(a, leaves.render(0, 0, "field"))


# ---- the leaf


@pytest.mark.parametrize("domain", leaves.DOMAINS)
def test_lesions_stay_inside_the_leaf(domain):
    for c, name in enumerate(leaves.CLASSES):
        changed = []
        for index in range(3):
            a = leaves.layers(c, 9, domain, 64, index)
            assert np.array_equal(a["image"], leaves.render(c, 9, domain, 64, index))
            differs = (a["image"] != a["healthy"]).any(-1)
            assert not (differs & ~a["mask"]).any(), name
            assert a["sick"].min() >= 0 and a["sick"].max() <= 1
            assert 0.02 < a["mask"].mean() <= 1
            changed.append(np.abs(a["image"].astype(int) - a["healthy"]).max(-1)[a["mask"]])
        changed = np.concatenate(changed)
        if leaves.disease(name) == "healthy":
            assert changed.max() == 0, name
        else:
            assert (changed > 25).mean() > 0.003, name  # plainly visible, on more than a speck


def test_a_larger_picture_shows_the_same_leaf():
    for c in range(0, 33, 3):
        small = leaves.render(c, 1, "lab", 48).astype(float)
        large = leaves.render(c, 1, "lab", 96).reshape(48, 2, 48, 2, 3).mean((1, 3))
        assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > 0.85, leaves.CLASSES[c]


def test_domains_share_the_leaf_and_differ_in_the_background():
    saturation, texture, colours = {}, {}, {}
    for domain in leaves.DOMAINS:
        outside, rough, inside = [], [], []
        for c in range(33):
            a = leaves.layers(c, 3, domain, 64)
            picture, away = a["healthy"].astype(float), ~a["mask"]
            if away.sum() > 300:
                outside.append((picture.max(-1) - picture.min(-1))[away].mean())
                step = np.abs(np.diff(picture.mean(-1), axis=1))[away[:, 1:] & away[:, :-1]]
                rough.append(step.mean())
            core = a["mask"] & (picture[..., 1] > picture[..., 2])
            inside.append(picture[core].mean(0))
        saturation[domain], texture[domain] = np.mean(outside), np.mean(rough)
        colours[domain] = np.mean(inside, axis=0)
    assert saturation["field"] > 1.4 * saturation["lab"]  # tables are grey, gardens are not
    assert texture["field"] > 1.3 * texture["lab"]  # nor plain
    for domain in leaves.DOMAINS:  # leaves are green in both
        assert colours[domain].argmax() == 1
    assert np.abs(colours["lab"] - colours["field"]).max() < 40


# ---- hard enough to teach


@pytest.mark.parametrize("domain", leaves.DOMAINS)
def test_nearest_neighbours_on_pixels_fail(domain):
    from sklearn.neighbors import KNeighborsClassifier

    train, y = leaves.dataset(20, 1, domain)
    test, z = leaves.dataset(8, 2, domain)
    train, test = (x.reshape(len(x), -1).astype(np.float32) for x in (train, test))
    assert KNeighborsClassifier(3, algorithm="brute").fit(train, y).score(test, z) < 0.25


def test_but_lesions_tell_the_diseases_apart():
    """Colour, spread and share of the sick pixels alone, given the mask: far above chance among tomatoes."""
    from sklearn.ensemble import ExtraTreesClassifier

    tomato = [c for c in leaves.CLASSES if leaves.crop(c) == "Tomato"]

    def features(seed, n):
        rows = []
        for i in range(n):
            for name in tomato:
                a = leaves.layers(name, seed, "lab", 64, i)
                m = a["mask"]
                p, h, s = a["image"][m] / 255, a["healthy"][m] / 255, a["sick"][m]
                change = np.sort((p - h).mean(1))
                w = s / (s.sum() + 1e-6)
                rows.append(
                    [
                        *(w @ p),
                        *(w @ (p - h)),
                        s.mean(),
                        (s > 0.5).mean(),
                        s.std(),
                        *change[[0, len(change) // 20, len(change) // 2, -len(change) // 20, -1]],
                        *np.percentile(p - h, [5, 50, 95], axis=0).ravel(),
                    ]
                )
        return np.array(rows), np.tile(np.arange(len(tomato)), n)

    model = ExtraTreesClassifier(200, random_state=0).fit(*features(1, 15))
    assert model.score(*features(2, 8)) > 0.5  # chance: 0.1


# ---- folders and errors


def test_write_folder_is_an_image_folder(tmp_path):
    from torchvision.datasets import ImageFolder

    out = tmp_path / "leaves"
    assert leaves.write_folder(out, 3, 4, "field", 32) == (66, 33)
    train, val = ImageFolder(out / "train"), ImageFolder(out / "val")
    assert train.classes == val.classes == leaves.CLASSES
    assert len(train) == 66 and len(val) == 33
    picture, label = val[20]
    assert np.array_equal(np.asarray(picture), leaves.render(label, 4, "field", 32, index=2))
    with pytest.raises(UserError, match="not an empty folder"):
        leaves.write_folder(out, 3, 4)
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="not an empty folder"):
        leaves.write_folder(tmp_path / "file", 3, 4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: leaves.render(33, 0), "class 33 is out of range"),
        (lambda: leaves.render("Tomato___Rust", 0), "unknown class 'Tomato___Rust'"),
        (lambda: leaves.render(0, -1), "must not be negative"),
        (lambda: leaves.render(0, 0, "moon"), "unknown domain 'moon'"),
        (lambda: leaves.render(0, 0, "lab", 8), "size 8 is out of range"),
        (lambda: leaves.dataset(0, 0), "at least 1; got 0"),
        (lambda: leaves.write_folder("never_made", 1, 0), "at least two"),
        (lambda: leaves.write_folder("never_made", 2, 0, "moon"), "unknown domain"),
    ],
)
def test_errors_name_the_thing(call, message):
    with pytest.raises(UserError, match=message):
        call()
    assert not Path("never_made").exists()


def test_the_command_draws_a_folder_to_train_on(tmp_path):
    from typer.testing import CliRunner

    from helpers.__main__ import app

    out = tmp_path / "leaves"
    words = ["data", "leaves", "--out", str(out), "--per-class", "2", "--size", "32", "--json"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, json.loads(done.stdout)) == (0, {"out": str(out), "train": 33, "valid": 33})
    assert len(list(out.glob("*/*/*.png"))) == 66
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 2 and "not an empty folder" in again.stderr
