"""`python -m helpers yolo ...`, as a reader runs it: pictures with boxes in, a detector and one JSON object out."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import ROOT, TWO, here, refused, shell, stopped, the_object
from darknet_oracle import Oracle
from faster_coco_eval import COCO, COCOeval_faster
from PIL import Image
from voc_folder import write_scenes, write_voc

from helpers.course.experiments import Record
from helpers.data import scenes
from helpers.data.images import read_image
from helpers.yolo import scene_set
from helpers.yolo import train as yolo_train
from helpers.yolo.average_precision import evaluate_dataset
from helpers.yolo.detect import detect_dataset

CLASSES = ["even", "odd"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scenes with even and odd digits as a VOC folder: 24 to train, 10 to validate, 10 to test."""
    return write_scenes(tmp_path_factory.mktemp("voc"), {"train": 24, "val": 10, "test": 10}, lambda k: CLASSES[k % 2])


def arguments(folder, out, *more):
    return [
        "yolo",
        "train",
        "--data",
        f"voc:{folder}",
        "--size",
        96,
        "--backbone",
        "none",
        "--width",
        8,
        "--batch-size",
        8,
        "--flip",
        "none",
        "--device",
        "cpu",
        "--out",
        out,
        *more,
    ]


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """(folder of the model, the answer) of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = here(*arguments(folder, out, "--epochs", 60, "--seed", 2, "--lr", 1e-2, "--json"))
    assert done.exit_code == 0, done.output
    return out, the_object(done.stdout)


def test_train_answers_with_one_object(trained, folder):
    out, facts = trained
    assert facts["n"] == 10 and facts["train"] == 24 and facts["epochs"] == 60 and facts["split"] == "valid"
    assert facts["resumed_from"] is None and facts["seconds"] > 0 and facts["size"] == [96, 96]
    assert set(facts["classes"]) == set(CLASSES) and 0 < facts["map"] < facts["map50"] < 1
    kept = json.loads((out / "metrics.json").read_text())
    history = kept.pop("history")
    assert {"command", "versions", "date"} <= kept.keys() and kept["seed"] == 2
    assert facts.items() <= kept.items() and len(history) == 60 and history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert facts["map"] == max(e.get("valid_map", 0) for e in history)


def coco_of_files(folder, split, rows):
    """faster-coco-eval on what `detect` printed, against the XML: mAP, mAP50."""
    from torchvision.datasets.voc import VOCDetection

    names = (folder / "ImageSets/Main" / f"{split}.txt").read_text().split()
    pictures, annotations = [], []
    for i, name in enumerate(names, 1):
        pictures.append({"id": i, "width": 96, "height": 96})
        tree = VOCDetection.parse_voc_xml(_root(folder / "Annotations" / f"{name}.xml"))
        for thing in tree["annotation"]["object"]:
            x0, y0, x1, y1 = (int(thing["bndbox"][k]) for k in ("xmin", "ymin", "xmax", "ymax"))
            box = [x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "category_id": CLASSES.index(thing["name"]) + 1,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    truth = COCO({"images": pictures, "annotations": annotations, "categories": categories})
    found = [
        {
            "image_id": names.index(Path(row["image"]).stem) + 1,
            "category_id": CLASSES.index(o["class"]) + 1,
            "bbox": [o["box"][0], o["box"][1], o["box"][2] - o["box"][0], o["box"][3] - o["box"][1]],
            "score": o["score"],
        }
        for row in rows
        for o in row["objects"]
    ]
    evaluation = COCOeval_faster(truth, truth.loadRes(found), "bbox", print_function=lambda *a: None)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[:2]


def _root(path):
    from xml.etree import ElementTree

    return ElementTree.parse(path).getroot()


def test_eval_equals_coco_on_what_detect_prints(trained, folder):
    """Two ways from the weights to a mAP: `eval`; and `detect` on the files, the XML, and COCO's program."""
    out, facts = trained
    for split in ("val", "test"):
        scores = the_object(
            here(
                "yolo",
                "eval",
                "--weights",
                out,
                "--data",
                f"voc:{folder}",
                "--split",
                split,
                "--device",
                "cpu",
                "--json",
            ).stdout
        )
        assert scores["n"] == 10 and scores["split"] == {"val": "valid"}.get(split, split)
        pictures = sorted((folder / "JPEGImages").glob(f"{split}*.png"))
        rows = the_object(
            here(
                "yolo", "detect", "--weights", out, *pictures, "--threshold", 0.005, "--device", "cpu", "--json"
            ).stdout
        )["detections"]
        assert coco_of_files(folder, split, rows) == pytest.approx([scores["map"], scores["map50"]], abs=1e-6)
        if split == "val":
            assert scores["map"] == pytest.approx(facts["map"], abs=1e-6)
    strict = the_object(
        here("yolo", "eval", "--weights", out, "--data", f"voc:{folder}", "--threshold", 0.6, "--json").stdout
    )
    assert strict["map"] < facts["map"]


def test_a_class_that_does_not_occur_is_null(trained, folder, tmp_path):
    out, _ = trained
    images, boxes, labels = scenes.dataset(3, 4, "valid", 96)
    write_voc(tmp_path, images, boxes, [["odd" for _ in ks] for ks in labels], "val")
    scores = the_object(here("yolo", "eval", "--weights", out, "--data", f"voc:{tmp_path}", "--json").stdout)
    assert scores["classes"]["even"] == {"map": None, "map50": None, "n": 0} and scores["map"] is not None
    write_voc(tmp_path, images, boxes, [[] for _ in labels], "test", "t")
    done = here("yolo", "eval", "--weights", out, "--data", f"voc:{tmp_path}", "--split", "test", "--json")
    assert the_object(done.stdout)["map"] is None


def test_a_record_holds_a_row_for_each_seed_and_split(trained, folder, tmp_path):
    out, facts = trained
    for split in ("val", "test", "valid"):  # two spellings of one split
        done = here(
            "yolo",
            "eval",
            "--weights",
            out,
            "--data",
            f"voc:{folder}",
            "--split",
            split,
            "--record",
            tmp_path / "yolo-x.json",
        )
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("mAP 0.") and done.stdout.count("\n") == 3
    record = json.loads((tmp_path / "yolo-x.json").read_text())
    assert record["name"] == "yolo-x" and {"title", "command", "date", "versions", "seconds"} <= record.keys()
    whole = [r for r in record["runs"] if r["arm"] == "all classes"]
    assert [(r["split"], r["seed"]) for r in whole] == [("test", 2), ("valid", 2)]
    assert whole[1]["map"] == pytest.approx(facts["map"], abs=1e-6)
    assert len(record["runs"]) == 2 * len(record["arms"]) > 2  # and each class
    assert str(folder.parent) not in json.dumps(record)  # no path of this machine
    (tmp_path / "broken.json").write_text("{")
    refused(
        here("yolo", "eval", "--weights", out, "--data", f"voc:{folder}", "--record", tmp_path / "broken.json"),
        "broken.json",
    )


def test_detect_draws_and_lists(trained, folder, tmp_path):
    out, _ = trained
    (tmp_path / "a").mkdir()
    picture = folder / "JPEGImages" / "train0.png"
    shutil.copy(picture, tmp_path / "a" / "train0.png")
    Image.new("RGB", (50, 120), "white").save(tmp_path / "empty.jpg")
    done = here(
        "yolo",
        "detect",
        "--weights",
        out,
        picture,
        tmp_path / "a" / "train0.png",
        tmp_path / "empty.jpg",
        "--threshold",
        0.1,
        "--out",
        tmp_path / "drawn",
        "--json",
    )
    rows = the_object(done.stdout)["detections"]
    assert [Path(r["drawn"]).name for r in rows] == ["train0.png", "train0-2.png", "empty.png"]
    assert json.loads((tmp_path / "drawn" / "detections.json").read_text())["detections"] == rows
    first = rows[0]["objects"]
    assert first and first == sorted(first, key=lambda o: -o["score"]) and rows[1]["objects"] == first
    assert all(0 <= o["box"][0] < o["box"][2] <= 96 and o["class"] in CLASSES and o["score"] > 0.1 for o in first)
    before, after = read_image(picture), read_image(tmp_path / "drawn" / "train0.png")
    x0, y0, x1, y1 = (round(v) for v in first[0]["box"])
    changed = (before != after).any(-1)
    assert changed[y0:y1, max(0, x0 - 1) : x0 + 2].any(1).mean() > 0.8  # the left side of its frame
    text = here("yolo", "detect", "--weights", out, tmp_path / "empty.jpg", "--threshold", 0.99)
    assert text.stdout.endswith("empty.jpg: nothing with a score of 0.99 or more; a lower --threshold shows more\n")


def test_scenes_too(tmp_path):
    out = tmp_path / "run"
    done = here(
        "yolo",
        "train",
        "--data",
        "scenes",
        "--scenes",
        16,
        "--epochs",
        1,
        "--size",
        96,
        "--width",
        2,
        "--strides",
        16,
        "--box-loss",
        "v3",
        "--ignore",
        0.5,
        "--rescore",
        "--out",
        out,
    )
    assert done.exit_code == 0 and "on 400 validation pictures after 1 epochs" in done.stdout, done.output
    config = yolo_train.load(out / "model.safetensors").config
    assert (config["strides"], config["box_loss"], config["ignore"], config["rescore"]) == ([16], "v3", 0.5, True)


def test_stopped_and_resumed_equals_never_stopped(trained, folder, tmp_path, monkeypatch):
    """In the middle, with mAPs taken before and after: the same weights."""
    out, whole = trained
    words = arguments(folder, tmp_path / "cut", "--epochs", 60, "--seed", 2, "--lr", 1e-2, "--json")
    stopped(monkeypatch, 37, *words)
    resumed = the_object(here(*words, "--resume").stdout)
    assert resumed["resumed_from"] == {"epoch": 37, "step": 0} and resumed["map"] == whole["map"]
    mine, other = (yolo_train.load(place / "model.safetensors").state_dict() for place in (tmp_path / "cut", out))
    assert all(torch.equal(mine[name], value) for name, value in other.items())
    refused(here(*arguments(folder, out, "--epochs", 61, "--seed", 2, "--lr", 1e-2, "--resume")), "epochs 60, not 61")


def test_two_processes_take_one_map(folder, tmp_path):
    """The mAP of `judge` is taken by one process and chooses the weights of both."""
    words = arguments(folder, tmp_path / "two", "--epochs", 3, "--json")
    done = shell(*words, launcher=TWO)
    assert done.returncode == 0, done.stderr
    facts = the_object(done.stdout)
    assert facts["epochs"] == 3 and done.stderr.count("epoch 3, ") == 1
    scores = the_object(here("yolo", "eval", "--weights", tmp_path / "two", "--data", f"voc:{folder}", "--json").stdout)
    assert scores["map"] == pytest.approx(facts["map"], abs=1e-6)


@pytest.mark.parametrize(
    "more, words",
    [
        (("--data", "coco"), ["'coco'"]),
        (("--data", "voc"), ["needs a path"]),
        (("--data", "voc:/nowhere"), ["/nowhere"]),
        (("--strides", "8;16"), ["--strides must be a comma-separated list such as 8,16; got '8;16'"]),
        (("--strides", "8,12"), ["powers of 2"]),
        (("--size", 100), ["size", "got 100"]),
        (("--device", "cuda:99"), ["cuda:99"]),
        (("--lr", 1e9), ["lower the"]),
        (("--freeze", "base"), ["--freeze is for borrowed features", "--backbone efficientnet_lite0"]),
        (("--backbone", "efficientnet_lite0", "--width", 8), ["--width is for a network from nothing"]),
    ],
)
def test_bad_settings_end_in_one_line(folder, tmp_path, more, words):
    refused(here(*arguments(folder, tmp_path / "run", "--epochs", 2, *more)), *words)


def test_bad_files_end_in_one_line(trained, folder, tmp_path):
    out, _ = trained
    shutil.copytree(folder, tmp_path / "voc")
    (tmp_path / "voc/JPEGImages/val3.png").write_bytes(b"no picture")
    refused(here(*arguments(tmp_path / "voc", tmp_path / "run")), "val3.png")
    assert not (tmp_path / "run" / "model.safetensors").exists()
    refused(here("yolo", "eval", "--weights", tmp_path, "--data", f"voc:{folder}"), "model.safetensors")
    refused(
        here("yolo", "eval", "--weights", out, "--data", f"voc:{folder}", "--split", "dev"),
        "--split must be",
        "got 'dev'",
    )
    refused(here("yolo", "detect", "--weights", out, tmp_path / "none.jpg"), "none.jpg")
    (tmp_path / "file").write_text("")
    picture = folder / "JPEGImages/val3.png"
    refused(here("yolo", "detect", "--weights", out, picture, "--out", tmp_path / "file"), "file")
    refused(here("yolo", "export-darknet", "--weights", out, "--out", tmp_path / "file"), "file")
    write_voc(tmp_path / "cats", np.zeros((1, 3, 96, 96), np.uint8), [[[5, 5, 40, 40]]], [["cat"]], "val")
    refused(here("yolo", "eval", "--weights", out, "--data", f"voc:{tmp_path / 'cats'}"), "cat", "even, odd")
    refused(here(*arguments(tmp_path / "cats", tmp_path / "run")), "no split 'train'")


def test_the_darknet_program_finds_the_same(trained, folder, tmp_path):
    """`darknet detector test` on what export-darknet wrote: its labels and percents are ours."""
    program = shutil.which("darknet")
    if program is None:
        pytest.skip("the Debian package darknet is not installed")
    out, _ = trained
    done = here("yolo", "export-darknet", "--weights", out, "--out", tmp_path / "dark", "--json")
    assert [Path(f).name for f in the_object(done.stdout)["files"]] == [
        "yolo.cfg",
        "yolo.weights",
        "yolo.names",
        "yolo.data",
    ]
    found = 0
    for name in ("train0", "train1", "test2", "test3"):
        picture = folder / "JPEGImages" / f"{name}.png"
        theirs = darknet_lines(program, tmp_path, tmp_path / "dark", picture, 0.2)
        ours = the_object(
            here("yolo", "detect", "--weights", out, picture, "--threshold", 0.2, "--nms", 0.45, "--json").stdout
        )
        objects = ours["detections"][0]["objects"]
        assert sorted(theirs) == sorted((o["class"], f"{100 * o['score']:.0f}") for o in objects)
        found += len(theirs)
    assert found >= 4


def darknet_lines(program, place, exported, picture, threshold):
    """[(class, percent)] as the C program prints them; it wants its pictures of letters in data/labels."""
    if not (place / "data").exists():
        listed = subprocess.run(["dpkg", "-L", "darknet"], capture_output=True, text=True).stdout.splitlines()
        labels = next((Path(line) for line in listed if line.endswith("/data/labels")), None)
        (place / "data").mkdir()
        if labels is not None:
            (place / "data" / "labels").symlink_to(labels)
    files = [exported / f"yolo.{end}" for end in ("data", "cfg", "weights")]
    done = subprocess.run(
        [program, "detector", "test", *files, picture, "-thresh", str(threshold), "-out", place / "drawn"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return re.findall(r"^(\w+): (\d+)%", done.stdout, re.M)


# ---------------------------------------------------------------- what is committed

CHECKPOINT = ROOT / "checkpoints" / "yolo-scenes"
RECORD = ROOT / "results" / "yolo-bccd.json"


@pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="checkpoints/yolo-scenes is not there")
def test_the_checkpoint_is_what_its_record_says_and_finds_digits():
    """Its SHA-256 stands in the README; 60 validation scenes score as the record says, within what 60 allow."""
    path, record = CHECKPOINT / "model.safetensors", json.loads((CHECKPOINT / "metrics.json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (CHECKPOINT / "README.md").read_text()
    assert sum(p.stat().st_size for p in CHECKPOINT.iterdir()) < 3e6
    assert record["command"].startswith("python -m helpers yolo train --data scenes") and record["versions"]["torch"]
    model, some = yolo_train.load(path), scene_set.SceneSet(60, "valid")
    scores = evaluate_dataset(detect_dataset(model, some), some)
    assert scores["map"] == pytest.approx(record["map"], abs=0.04)
    assert scores["map50"] == pytest.approx(record["map50"], abs=0.03)


@pytest.mark.skipif(not CHECKPOINT.is_dir(), reason="checkpoints/yolo-scenes is not there")
def test_the_darknet_program_and_library_find_the_digits_of_the_checkpoint(tmp_path):
    """Trained weights in the C program (its printed lines) and in the C library (its boxes, to 1e-2 of a pixel)."""
    program, oracle = shutil.which("darknet"), Oracle(tmp_path)
    out = tmp_path / "dark"
    done = here("yolo", "export-darknet", "--weights", CHECKPOINT, "--out", out)
    assert done.exit_code == 0, done.output
    net, total = oracle.network(out / "yolo.cfg", out / "yolo.weights"), 0
    for i in range(6):
        image = scenes.scene(i, 7, "valid", 160).image
        picture = tmp_path / f"{i}.png"
        Image.fromarray(image.transpose(1, 2, 0)).save(picture)
        answer = the_object(here("yolo", "detect", "--weights", CHECKPOINT, picture, "--nms", 0.45, "--json").stdout)
        ours = sorted((o["class"], o["score"], o["box"]) for o in answer["detections"][0]["objects"])
        oracle.forward(net, image.astype(np.float32) / 255)
        boxes, scores = oracle.boxes(net, 160, 160, 0.25, 0.45, 10)
        index, label = np.nonzero(scores)
        corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1).clip(0, 160)
        theirs = sorted(zip(map(str, label), scores[index, label].tolist(), corners[index].tolist()))
        assert [k for k, _, _ in ours] == [k for k, _, _ in theirs]
        assert np.allclose([s for _, s, _ in ours], [s for _, s, _ in theirs], atol=1e-4)
        assert np.allclose([b for _, _, b in ours], [b for _, _, b in theirs], atol=1e-2)  # pixels
        if program:
            lines = darknet_lines(program, tmp_path, out, picture, 0.25)
            assert sorted(lines) == sorted((k, f"{100 * s:.0f}") for k, s, _ in ours)
        total += len(ours)
    assert total >= 15
    oracle.free_network(net)


@pytest.mark.skipif(not RECORD.is_file(), reason="results/yolo-bccd.json is not there")
def test_the_record_of_the_blood_cells_is_whole():
    record = json.loads(RECORD.read_text())
    assert record["name"] == "yolo-bccd" and record["command"].startswith("python -m helpers yolo train --data voc:")
    assert {"title", "date", "versions", "seconds"} <= record.keys()
    rows = Record("yolo-bccd").rows("seed", "split")
    assert len(rows) == 2
    for row in rows:
        whole, classes = row["all classes"], [row[name] for name in ("Platelets", "RBC", "WBC")]
        assert row["split"] == "valid" and row.keys() == {"seed", "split", *record["arms"]} and len(row) == 6
        assert whole["n"] == 87 and whole["map50"] > whole["map"]
        assert whole["map"] == pytest.approx(sum(c["map"] for c in classes) / 3, abs=1e-9)
