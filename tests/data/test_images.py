"""Pictures from disk: every kind of file against the values it was made from, and the layouts of class folders."""

import os
import struct
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from helpers.course.errors import UserError
from helpers.data import images
from helpers.data.images import EXTENSIONS, ImageItems, class_folder, fit_square, folder_items, read_image, split
from helpers.data.leaves.rendering import CLASSES

# PlantVillage's other five: the crops with a single class
SINGLE = [
    "Blueberry___healthy",
    "Orange___Haunglongbing_(Citrus_greening)",
    "Raspberry___healthy",
    "Soybean___healthy",
    "Squash___Powdery_mildew",
]


def noise(h=24, w=40, channels=3, seed=0):
    """Smooth colours, so that JPEG hardly changes them: (h, w, channels) uint8."""
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (4, 5, channels), dtype=np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)


def saved(path, array, **kw):
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **kw)
    return path


def error(path):
    with pytest.raises(UserError) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


# ------------------------------------------------------------------ what a file holds


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.ppm", "a.tif", "a b ü 한글.png", "A.PNG"])
def test_rgb_comes_back_byte_for_byte(tmp_path, name):
    x = noise()
    got = read_image(saved(tmp_path / name, x))
    assert got.dtype == np.uint8 and np.array_equal(got, x)


@pytest.mark.parametrize("kw", [{"format": "JPEG", "quality": 95}, {"format": "WEBP", "quality": 95}])
def test_lossy_formats_equal_opencvs_decoder(tmp_path, kw):
    x = noise()
    path = saved(tmp_path / "a.pic", x, **kw)
    other = cv2.cvtColor(cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    got = read_image(path)
    assert np.abs(got.astype(int) - other).max() <= 3 and np.abs(got.astype(int) - x).mean() < 4


def test_grey_has_three_equal_channels(tmp_path):
    x = noise(channels=1)
    got = read_image(saved(tmp_path / "g.png", x))
    assert got.shape == (24, 40, 3) and all(np.array_equal(got[:, :, c], x) for c in range(3))


def test_one_bit_is_black_and_white(tmp_path):
    x = noise(channels=1) > 128
    got = read_image(saved(tmp_path / "b.png", Image.fromarray(x)))
    assert np.array_equal(got, np.repeat(x[:, :, None] * np.uint8(255), 3, axis=2))


def over_white(colour, alpha):
    """c a/255 + 255 (1 - a/255): what a page shows of a transparent picture."""
    a = alpha[..., None] / 255
    return colour * a + 255 * (1 - a)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    colour, alpha = noise(channels=3 if mode == "RGBA" else 1), noise(channels=1, seed=1)
    colour = colour.reshape(24, 40, -1)
    got = read_image(saved(tmp_path / "t.png", np.dstack([colour, alpha])))
    assert got.shape == (24, 40, 3) and np.abs(got - over_white(colour, alpha)).max() <= 1


def test_palettes_with_and_without_transparency(tmp_path):
    index = np.random.default_rng(0).integers(0, 4, (10, 12), dtype=np.uint8)
    palette = np.array([[200, 10, 20], [0, 0, 0], [30, 40, 250], [9, 99, 199]], np.uint8)
    image = Image.fromarray(index)
    image.putpalette(palette.tobytes())
    assert np.array_equal(read_image(saved(tmp_path / "p.png", image)), palette[index])
    white = palette.copy()
    white[1] = 255
    for name in ("p1.png", "p1.gif"):
        got = read_image(saved(tmp_path / name, image, transparency=1))
        assert np.array_equal(got, white[index]), name
    alpha = np.array([255, 0, 128, 64], np.uint8)  # one for every entry of the palette
    got = read_image(saved(tmp_path / "p4.png", image, transparency=alpha.tobytes()))
    assert np.abs(got - over_white(palette, alpha)[index]).max() <= 1


def cmyk(*ink):
    return Image.new("CMYK", (16, 16), ink)


INKS = {
    (255, 0, 0, 0): (0, 255, 255),
    (0, 255, 255, 0): (255, 0, 0),
    (0, 0, 0, 255): (0, 0, 0),
    (0, 0, 0, 0): (255, 255, 255),
    (0, 0, 255, 128): (127, 127, 0),
}


@pytest.mark.parametrize("ink, rgb", INKS.items())
def test_cmyk_is_colour_and_not_its_negative(tmp_path, ink, rgb):
    """R = (1 - C)(1 - K): as TIFF keeps it, and inverted in a JPEG with Adobe's marker, as Photoshop writes it."""
    assert np.abs(read_image(saved(tmp_path / "c.tif", cmyk(*ink))).astype(int) - rgb).max() <= 1
    path = saved(tmp_path / "c.jpg", cmyk(*ink), quality=95, subsampling=0)
    got = read_image(path).astype(int)
    assert b"Adobe" in path.read_bytes()
    assert np.abs(got - rgb).max() <= 3
    assert np.abs(got - cv2.imread(str(path))[:, :, ::-1]).max() <= 3  # OpenCV knows Adobe's inversion too


def test_ycck_as_photoshop_writes_it(tmp_path):
    """Transform 2 in Adobe's marker: the first three components are YCbCr of the inks, the fourth is 255 - K."""
    y, cb, cr = Image.new("RGB", (1, 1), (255, 128, 0)).convert("YCbCr").getpixel((0, 0))  # C 255, M 128, Y 0
    path = saved(tmp_path / "y.jpg", cmyk(255 - y, 255 - cb, 255 - cr, 0), quality=95, subsampling=0)
    data = bytearray(path.read_bytes())  # PIL stored each value inverted, with transform 0
    at = data.index(b"Adobe") + 11
    assert data[at] == 0
    data[at] = 2
    path.write_bytes(data)
    assert np.abs(read_image(path).astype(int) - [0, 127, 255]).max() <= 4


SIXTEEN = (np.arange(64 * 64, dtype=np.uint32) * 16).astype(np.uint16).reshape(64, 64)  # 0 .. 65520


@pytest.mark.parametrize("name", ["s.png", "s.tif", "opencv.png", "opencv.tif"])
@pytest.mark.parametrize("shift", [0, 9], ids=["bright", "dark"])
def test_16_bit_grey_is_scaled_by_65535(tmp_path, name, shift):
    x, path = SIXTEEN >> shift, tmp_path / name  # dark: nothing above 127 of 65535
    if name.startswith("opencv"):
        assert cv2.imwrite(str(path), x)
    else:
        saved(path, x)
    got = read_image(path)
    assert got.shape == (64, 64, 3)
    for c in range(3):
        assert np.array_equal(got[:, :, c], np.floor(x * (255 / 65535) + 0.5))


def test_32_bit_and_float_tiffs_keep_their_contrast(tmp_path):
    unit = SIXTEEN / 65520
    for name, x, top in (
        ("unit", unit, 1),
        ("bytes", unit * 255, 255),
        ("words", unit * 65535, 65535),
        ("beyond", unit * 2e6, 2e6),
    ):
        got = read_image(saved(tmp_path / f"{name}.tif", x.astype(np.float32)))
        assert np.abs(got[:, :, 0] - x / top * 255).max() <= 0.51, name
    for top in (255, 65535, 2**31 - 1):
        x = (unit * top).astype(np.int32)
        got = read_image(saved(tmp_path / "i.tif", x))
        assert np.abs(got[:, :, 0] - x / top * 255).max() <= 0.51, top


def test_a_float_tiff_with_holes_is_read(tmp_path):
    x = np.full((8, 8), 0.5, np.float32)
    x[0, :3] = np.nan, np.inf, -np.inf
    got = read_image(saved(tmp_path / "n.tif", x))
    assert (got[1:] == 128).all() and (got[0, :3] == 0).all()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["e.jpg", "e.png", "e.tif"])
def test_exif_orientation_is_applied_once(tmp_path, orientation, name):
    """The tag says how the stored rows lie: OpenCV's own reading of it is the oracle, and NumPy's for TIFF."""
    upright = np.zeros((32, 48, 3), np.uint8)
    upright[:16, :16] = 255, 0, 0  # red top left, green top right, blue bottom left
    upright[:16, 32:] = 0, 255, 0
    upright[16:, :16] = 0, 0, 255
    # the transforms that bring an upright picture into what tag 1..8 stores (TIFF 6.0, Orientation)
    store = [
        lambda x: x,
        lambda x: x[:, ::-1],
        lambda x: x[::-1, ::-1],
        lambda x: x[::-1],
        lambda x: x.swapaxes(0, 1),
        lambda x: np.rot90(x),
        lambda x: x[::-1, ::-1].swapaxes(0, 1),
        lambda x: np.rot90(x, -1),
    ]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(store[orientation - 1](upright))
    kw = {"quality": 95, "subsampling": 0} if name.endswith("jpg") else {}
    path = saved(tmp_path / name, stored, exif=exif, **kw)
    got = read_image(path)
    assert got.shape == upright.shape and np.abs(got.astype(int) - upright).max() <= 12
    if name.endswith("jpg"):
        assert np.abs(got.astype(int) - cv2.imread(str(path))[:, :, ::-1]).max() <= 3


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_an_animation_the_first_frame_is_taken(tmp_path, name):
    frames = [Image.new("RGB", (12, 10), colour) for colour in ("#ff0000", "#00ff00", "#0000ff")]
    kw = {"lossless": True} if name.endswith("webp") else {}
    frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], **kw)
    got = read_image(tmp_path / name)
    assert np.array_equal(got, np.full((10, 12, 3), (255, 0, 0)))


# ------------------------------------------------------------------ what is no picture


def test_what_cannot_be_read_ends_in_one_line_that_names_it(tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("this is no picture\n" * 100)
    assert "replace it, or remove it" in error(text)
    empty = tmp_path / "empty.png"
    empty.touch()
    assert "not a readable picture" in error(empty)
    folder = tmp_path / "folder.jpg"
    folder.mkdir()
    assert "not a readable picture" in error(folder)
    assert "there is no picture" in error(tmp_path / "missing.jpg")


def test_a_truncated_picture_is_not_half_a_picture(tmp_path):
    for suffix, kind in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF"), ("webp", "WEBP"), ("bmp", "BMP")):
        path = saved(tmp_path / f"t.{suffix}", noise(60, 80), format=kind)
        data = path.read_bytes()
        for share in (0.02, 0.3, 0.9):
            path.write_bytes(data[: int(len(data) * share)])
            error(path)


def test_a_decompression_bomb_is_refused_without_unpacking_it(tmp_path):
    def chunk(kind, data):
        import zlib

        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "bomb.png"
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)  # 60,000 x 60,000 in 60 bytes
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    assert "is too large" in error(path)


@pytest.mark.filterwarnings("ignore")  # PIL warns of the damage before it gives up
def test_damaged_bytes_give_a_picture_or_a_clear_line(tmp_path):
    rng = np.random.default_rng(0)
    outcomes = Counter()
    for suffix, kind in (("jpg", "JPEG"), ("png", "PNG"), ("tif", "TIFF"), ("gif", "GIF"), ("webp", "WEBP")):
        path = saved(tmp_path / f"d.{suffix}", noise(), format=kind)
        data = path.read_bytes()
        for _ in range(60):
            bad = bytearray(data)
            for at in rng.integers(0, len(bad), rng.integers(1, 20)):
                bad[at] = rng.integers(256)
            path.write_bytes(bad)
            try:
                assert read_image(path).shape[2] == 3
                outcomes["picture"] += 1
            except UserError:
                outcomes["refused"] += 1
    assert outcomes["picture"] > 10 and outcomes["refused"] > 100


# ------------------------------------------------------------------ squares


@pytest.mark.parametrize("shape", [(224, 224), (225, 223), (37, 61), (1, 1), (1, 500), (3000, 2), (2, 3), (501, 1000)])
@pytest.mark.parametrize("size", [32, 63, 224])
def test_squares_have_exactly_the_size(shape, size):
    got = fit_square(noise(*shape), size)
    assert got.shape == (3, size, size) and got.dtype == torch.uint8 and got.is_contiguous()


def test_a_ribbon_needs_no_memory_for_what_is_cut_away():
    """1 x 60,000 pixels: resized as a whole it would be 224 x 13,440,000."""
    x = np.zeros((1, 60_001, 3), np.uint8)
    x[0, 29_990:30_011] = 10, 200, 30
    got = fit_square(x, 224)
    assert (got.reshape(3, -1).T == torch.tensor([10, 200, 30])).all()


def test_the_square_is_the_middle():
    x = noise(64, 64)
    for wide in (np.pad(x, ((0, 0), (30, 30), (0, 0))), np.pad(x, ((30, 30), (0, 0), (0, 0)))):
        assert np.array_equal(fit_square(wide, 64).permute(1, 2, 0), x)


def test_shrinking_is_antialiased():
    """A chequerboard of single pixels has one mean; picking pixels would give black, white or moire."""
    x = (np.indices((512, 512)).sum(0) % 2 * 255).astype(np.uint8)[:, :, None].repeat(3, 2)
    got = fit_square(x, 64).float()
    assert (got - 127.5).abs().max() <= 2
    # and a smooth picture keeps its values: against OpenCV's mean over areas
    x = noise(400, 400)
    area = cv2.resize(x, (50, 50), interpolation=cv2.INTER_AREA)
    assert np.abs(fit_square(x, 50).permute(1, 2, 0).numpy().astype(int) - area).max() <= 3


# ------------------------------------------------------------------ class folders


def tree(root, layout):
    """Write one tiny picture for every entry of {folder: names}."""
    for folder, names in layout.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        for name in names:
            saved(root / folder / name, noise(4, 4, seed=len(name)), format="PNG")
    return root


def names(n, start=0):
    return [f"{i:03}.png" for i in range(start, start + n)]


def pairs(items):
    return [(path.parent.name, path.name, label) for path, label in items]


@pytest.mark.parametrize(
    "train, val", [("train", "val"), ("train", "valid"), ("train", "validation"), ("Train", "VAL")]
)
def test_train_and_val_folders(tmp_path, train, val):
    tree(tmp_path, {f"{train}/cat": names(3), f"{train}/dog": names(2), f"{val}/cat": names(1), f"{val}/dog": names(2)})
    training, valid, classes = class_folder(tmp_path)
    assert classes == ["cat", "dog"]
    assert pairs(training) == [
        ("cat", "000.png", 0),
        ("cat", "001.png", 0),
        ("cat", "002.png", 0),
        ("dog", "000.png", 1),
        ("dog", "001.png", 1),
    ]
    assert pairs(valid) == [("cat", "000.png", 0), ("dog", "000.png", 1), ("dog", "001.png", 1)]
    assert {p.parent.parent.name for p, _ in valid} == {val}


@pytest.mark.parametrize("prefix", ["", "train/"])
def test_without_val_a_split_keeps_the_share_of_every_class(tmp_path, prefix):
    tree(tmp_path, {f"{prefix}a": names(10), f"{prefix}b": names(50), f"{prefix}c": names(2), f"{prefix}d": names(8)})
    training, valid, classes = class_folder(tmp_path, seed=3)
    assert classes == ["a", "b", "c", "d"]
    assert Counter(label for _, label in valid) == {0: 2, 1: 10, 2: 1, 3: 2}  # a fifth, rounded, one at least
    assert len(training) + len(valid) == 70 and not {p for p, _ in training} & {p for p, _ in valid}
    assert all(classes[label] == path.parent.name for path, label in training + valid)
    assert class_folder(tmp_path, seed=3) == (training, valid, classes)
    assert class_folder(tmp_path, seed=4)[1] != valid


def test_the_split_is_the_same_on_every_machine():
    """Pinned: a NumPy that draws otherwise would silently move pictures from validation into training."""
    labels = [0] * 10 + [1] * 10
    assert split(labels, 0.3, 0) == split(np.array(labels), 0.3, 0)
    train, valid = split(labels, 0.3, 0)
    assert valid == [2, 4, 6, 12, 13, 19] and sorted(train + valid) == list(range(20))


def test_every_picture_lands_in_validation_under_some_seed():
    seen = Counter(i for seed in range(200) for i in split([0] * 10, 0.2, seed)[1])
    assert sum(seen.values()) == 400 and all(20 <= seen[i] <= 62 for i in range(10))  # 40 expected, 4 deviations


def one_line(match, path, **kw):
    with pytest.raises(UserError, match=match) as caught:
        class_folder(path, **kw)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_bad_layouts_end_in_one_line(tmp_path):
    assert "PATH/train/CLASS" in one_line("there is no folder", tmp_path / "nowhere")
    file = saved(tmp_path / "a.png", noise())
    one_line("there is no folder", file)
    one_line("needs two class folders or more; it has 0", tmp_path)
    tree(tmp_path / "one", {"only": names(4)})
    one_line("needs two class folders or more; it has 1", tmp_path / "one")
    tree(tmp_path / "empty", {"a": names(4), "b": []})
    assert str(tmp_path / "empty" / "b") in one_line("holds no picture", tmp_path / "empty")
    tree(tmp_path / "more", {"train/a": names(2), "train/b": names(2), "val/a": names(1), "val/new": names(1)})
    assert "new" in one_line("has the class folders .*train lacks", tmp_path / "more")
    tree(tmp_path / "less", {"train/a": names(2), "train/b": names(2), "val/a": names(1)})
    assert str(tmp_path / "less" / "val" / "b") in one_line("holds no picture", tmp_path / "less")
    tree(tmp_path / "lonely", {"a": names(4), "b": names(1)})
    assert str(tmp_path / "lonely" / "b") in one_line("one picture", tmp_path / "lonely")
    with pytest.raises(UserError, match="there is no folder"):
        folder_items(tmp_path / "test", ["a"])


def test_other_files_are_skipped_with_a_note(tmp_path, capsys):
    tree(tmp_path, {"a": names(2), "b": [*names(2), ".hidden.png"]})
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.txt").touch()
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / ".DS_Store").touch()
    (tmp_path / "b" / "x.jpg").mkdir()  # a folder with the name of a picture
    (tmp_path / "b" / "1.TXT").touch()
    (tmp_path / "b" / "2").touch()
    training, valid, classes = class_folder(tmp_path)
    assert classes == ["a", "b"] and len(training) == len(valid) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"{tmp_path / 'a'}: skipped 1 file that" in err and f"{tmp_path / 'b'}: skipped 2 files that" in err


def test_all_extensions_count_in_any_case(tmp_path):
    for suffix in EXTENSIONS:
        tree(tmp_path, {"a": [f"x{suffix}", f"y{suffix.upper()}"], "b": names(2)})
    training, valid, _ = class_folder(tmp_path)
    assert Counter(label for _, label in training + valid) == {0: 2 * len(EXTENSIONS), 1: 2}


def test_the_lectures_33_classes_out_of_plantvillages_38(tmp_path):
    tree(tmp_path, {name: names(2) for name in [*CLASSES, *SINGLE]})
    assert len(class_folder(tmp_path)[2]) == 38
    training, valid, classes = class_folder(tmp_path, classes=list(CLASSES))
    assert classes == list(CLASSES) and len(training) == len(valid) == 33
    assert not {p.parent.name for p, _ in training + valid} & set(SINGLE)
    assert all(CLASSES[label] == path.parent.name for path, label in training + valid)
    crops = Counter(name.split("___")[0] for name in [*CLASSES, *SINGLE])
    assert {name.split("___")[0] for name in SINGLE} == {crop for crop, n in crops.items() if n == 1}
    (tmp_path / CLASSES[5]).rename(tmp_path / "elsewhere")
    assert CLASSES[5] in one_line("lacks the class folders", tmp_path, classes=list(CLASSES))


# ------------------------------------------------------------------ pictures as a data set


def folder(tmp_path):
    kinds = {"a/1.png": noise(40, 30), "a/2.png": noise(30, 40, 1), "b/3.jpg": noise(64, 64), "b/4.png": SIXTEEN}
    for name, x in kinds.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        saved(tmp_path / name, x)
    saved(tmp_path / "b" / "5.jpg", cmyk(0, 255, 0, 0))
    return folder_items(tmp_path, ["a", "b"])


def test_cached_holds_the_same_as_the_files(tmp_path):
    data = ImageItems(folder(tmp_path), 32)
    kept = data.cached()
    x, y = kept.tensors
    assert len(data) == len(kept) == 5 and x.dtype == torch.uint8 and y.tolist() == [0, 0, 1, 1, 1]
    for i in range(5):
        assert torch.equal(x[i], data[i][0]) and y[i] == data[i][1]
        assert torch.equal(x[i], fit_square(read_image(data.items[i][0]), 32))


def test_too_many_pictures_for_memory_stay_on_disk_with_the_same_result(tmp_path, monkeypatch):
    from helpers.course.classify import classify
    from helpers.course.training import evaluate

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 2)).double()
    step = lambda model, batch: classify(lambda x: model(x.double() / 255), batch)
    items = folder(tmp_path)
    a = evaluate(net, ImageItems(items, 32).cached(), step=lambda m, b: step(m, b), device="cpu", batch_size=2)
    monkeypatch.setattr(images, "CACHE_BYTES", 5 * 3 * 32 * 32 - 1)
    data = ImageItems(items, 32)
    assert data.cached() is data
    b = evaluate(net, data, step=lambda m, b: step(m, b), device="cpu", batch_size=2)
    assert a == b and a["n"] == 5


@pytest.mark.parametrize("room", [2**31, 1])
def test_a_broken_picture_is_named_before_the_training(tmp_path, monkeypatch, room):
    monkeypatch.setattr(images, "CACHE_BYTES", room)
    items = folder(tmp_path)
    (tmp_path / "a" / "2.png").write_text("no picture")
    with pytest.raises(UserError) as caught:
        ImageItems(items, 32).cached()
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a' / '2.png'} is not a readable picture") and "\n" not in message
    assert "same for" not in message
    for name in ("b/3.jpg", "b/4.png"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(UserError, match=r"2.png is not a readable.*; the same for .*3.jpg, .*4.png$"):
        ImageItems(items, 32).cached()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = saved(tmp_path / "p.png", noise())
    path.chmod(0)
    error(path)
