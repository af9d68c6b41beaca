"""Small folders and arrays laid out like what COURSE_SCALE=full downloads: PlantVillage, IMDb, NSMC, VOC, MNIST."""

import numpy as np
from PIL import Image
from voc_folder import write_voc


def other_edition(name):
    """A class folder's name in PlantVillage's edition on Mendeley Data, as tensorflow-datasets lists it."""
    return name.replace("_(including_sour)", "").replace("_(maize)", "").removesuffix("_")


def leaf_folders(place, many=15):
    """PlantVillage: a folder a class, `many` pictures of lecture 07's kinds and 15 of the others; crops are spelled as
    in the edition on Mendeley Data, and there are more classes than the 33."""
    from helpers.augmentation.experiments import KINDS
    from helpers.data.leaves.rendering import CLASSES

    random = np.random.default_rng(0)
    for k, name in enumerate([*CLASSES, "Blueberry___healthy", "Background_without_leaves"]):
        folder = place / other_edition(name)
        folder.mkdir()
        for i in range(many if name in KINDS else 15):
            picture = random.integers(0, 90, (48, 48, 3)) + [k * 4, 120 - 3 * k, 60]
            Image.fromarray(picture.astype(np.uint8)).save(folder / f"image ({i}).JPG")
    return place


def review_files(place):
    """IMDb: train and test, pos and neg, a file a review; each is some sentences of ours, with a line break."""
    from helpers.data.texts import reviews

    table = reviews()
    for split, start in (("train", 0), ("test", 2000)):
        for kind, label in (("pos", 1), ("neg", 0)):
            folder, texts = place / split / kind, table[table["label"] == label]["text"].tolist()[start:]
            folder.mkdir(parents=True)
            for i, n in enumerate(range(3, 43)):
                text = "<br /><br />".join(texts[40 * i : 40 * i + n])
                (folder / f"{i}_{9 * label + 1}.txt").write_text(text, encoding="utf-8")
    return place


def review_table(place):
    """NSMC: train and test, a line a review."""
    for split, n in (("train", 60), ("test", 20)):
        lines = [f"{i}\t{['별로 재미없다', '정말 재미있다'][i % 2]} {i % 7}\t{i % 2}" for i in range(n)]
        (place / f"ratings_{split}.txt").write_text("\n".join(["id\tdocument\tlabel", *lines]), encoding="utf-8")
    return place


def voc_layout(place):
    """Pictures with boxes in Pascal VOC's layout: scenes."""
    from helpers.data import scenes

    for split in ("train", "val", "test"):
        images, corners, labels = scenes.dataset(6, 0, {"val": "valid"}.get(split, split), 96)
        write_voc(place, images, corners, [[str(k) for k in ks] for ks in labels], split, split)
    return place


def few_digits(split="train"):
    """In the place of `mnist`: of 5,000 digits every tenth to test on and, without those, every second to train."""
    from helpers.data.sets import mnist5k

    images, labels = mnist5k()
    part = slice(0, None, 10) if split == "test" else slice(1, None, 2)
    return images[part], labels[part]
