"""Pictures and boxes written in the layout of Pascal VOC, for tests."""

import numpy as np
from PIL import Image

from helpers.data import scenes


def write_voc(folder, images, boxes, names, split="train", prefix="p", enlarge=1):
    """images (N, 3, H, W) uint8, boxes xyxy with whole corners, names: lists of class names."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    stems = []
    for i, (image, own, classes) in enumerate(zip(images, boxes, names)):
        stem = f"{prefix}{i}"
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        picture = picture.resize((picture.width * enlarge, picture.height * enlarge), Image.BICUBIC)
        picture.save(folder / "JPEGImages" / f"{stem}.png")
        objects = ""
        for (x0, y0, x1, y1), name in zip(np.asarray(own) * enlarge, classes):
            corners = {"xmin": int(x0) + 1, "ymin": int(y0) + 1, "xmax": int(x1), "ymax": int(y1)}
            box = "".join(f"<{k}>{v}</{k}>" for k, v in corners.items())
            objects += f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"
        (folder / "Annotations" / f"{stem}.xml").write_text(f"<annotation>{objects}</annotation>")
        stems.append(stem)
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{s}\n" for s in stems))
    return folder


def write_scenes(folder, counts, name=lambda k: "digit"):
    """Rendered scenes of 96 pixels in the layout of Pascal VOC; counts {split: n}, name(k): the class of a digit k."""
    for split, n in counts.items():
        images, boxes, labels = scenes.dataset(n, 3, {"val": "valid"}.get(split, split), 96)
        write_voc(folder, images, boxes, [[name(k) for k in ks] for ks in labels], split, split)
    return folder
