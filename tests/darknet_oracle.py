"""The Darknet C library of Debian's package `darknet`, as an oracle: ctypes, and a few lines of C.

The struct `network` is reached through a shim that gcc compiles against the package's own header, so that
no struct is laid out by hand except the three small ones passed by value.
"""

import ctypes as C
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

SHIM = r"""
#include "darknet.h"
#include <string.h>
void dk_forward(network *net, float *x, float *truth, int train)
{
    net->train = train;
    memcpy(net->input, x, sizeof(float) * net->inputs * net->batch);
    if (truth) memcpy(net->truth, truth, sizeof(float) * net->truths * net->batch);
    forward_network(net);
}
int dk_layers(network *net) { return net->n; }
int dk_inputs(network *net) { return net->inputs; }
int dk_truths(network *net) { return net->truths; }
void dk_seen(network *net, size_t seen) { *net->seen = seen; }
size_t dk_get_seen(network *net) { return *net->seen; }
int dk_outputs(network *net, int i) { return net->layers[i].outputs; }
float *dk_output(network *net, int i) { return net->layers[i].output; }
float *dk_delta(network *net, int i) { return net->layers[i].delta; }
"""


class Box(C.Structure):
    _fields_ = [(name, C.c_float) for name in "xywh"]


class Detection(C.Structure):
    _fields_ = [
        ("bbox", Box),
        ("classes", C.c_int),
        ("prob", C.POINTER(C.c_float)),
        ("mask", C.POINTER(C.c_float)),
        ("objectness", C.c_float),
        ("sort_class", C.c_int),
    ]


class Image(C.Structure):
    _fields_ = [("w", C.c_int), ("h", C.c_int), ("c", C.c_int), ("data", C.POINTER(C.c_float))]


def package_file(suffix):
    """A file of the package by the end of its name, or None."""
    if not shutil.which("dpkg"):
        return None
    listed = subprocess.run(["dpkg", "-L", "darknet"], capture_output=True, text=True).stdout.splitlines()
    return next((Path(line) for line in listed if line.endswith(suffix) and Path(line).is_file()), None)


def config(name):
    """The text of a cfg that the package ships."""
    path = package_file(f"/cfg/{name}.cfg")
    if path is None:
        pytest.skip(f"the Debian package darknet, with its {name}.cfg, is not installed")
    return path.read_text()


class Oracle:
    """libdarknet: `Oracle(folder)` compiles the shim into `folder`."""

    def __init__(self, folder):
        library, header = package_file("/libdarknet.so"), package_file("/darknet.h")
        if library is None or header is None:
            pytest.skip("the Debian package darknet is not installed")
        if not shutil.which("gcc"):
            pytest.skip("gcc, to compile the shim for libdarknet, is not installed")
        source, shim = Path(folder) / "shim.c", Path(folder) / "shim.so"
        source.write_text(SHIM)
        place = library.parent
        subprocess.run(
            [
                "gcc",
                "-shared",
                "-fPIC",
                f"-I{header.parent}",
                source,
                "-o",
                shim,
                f"-L{place}",
                "-l:libdarknet.so",
                f"-Wl,-rpath,{place}",
            ],
            check=True,
        )
        self.lib, self.shim = C.CDLL(str(library), mode=C.RTLD_GLOBAL), C.CDLL(str(shim))
        C.c_int.in_dll(self.lib, "gpu_index").value = -1
        floats, net = C.POINTER(C.c_float), C.c_void_p
        lib = {
            "parse_network_cfg": (net, C.c_char_p),
            "load_network": (net, C.c_char_p, C.c_char_p, C.c_int),
            "load_weights": (None, net, C.c_char_p),
            "save_weights": (None, net, C.c_char_p),
            "set_batch_network": (None, net, C.c_int),
            "free_network": (None, net),
            "network_predict": (floats, net, floats),
            "box_iou": (C.c_float, Box, Box),
            "do_nms_sort": (None, C.POINTER(Detection), C.c_int, C.c_int, C.c_float),
            "letterbox_image": (Image, Image, C.c_int, C.c_int),
            "free_image": (None, Image),
            "get_network_boxes": (
                C.POINTER(Detection),
                net,
                C.c_int,
                C.c_int,
                C.c_float,
                C.c_float,
                C.POINTER(C.c_int),
                C.c_int,
                C.POINTER(C.c_int),
            ),
            "free_detections": (None, C.POINTER(Detection), C.c_int),
        }
        shims = {
            "dk_forward": (None, net, floats, floats, C.c_int),
            "dk_layers": (C.c_int, net),
            "dk_inputs": (C.c_int, net),
            "dk_truths": (C.c_int, net),
            "dk_seen": (None, net, C.c_size_t),
            "dk_get_seen": (C.c_size_t, net),
            "dk_outputs": (C.c_int, net, C.c_int),
            "dk_output": (floats, net, C.c_int),
            "dk_delta": (floats, net, C.c_int),
        }
        for library, functions in ((self.lib, lib), (self.shim, shims)):
            for name, (result, *arguments) in functions.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
                setattr(self, name, function)

    def iou(self, a, b):
        """IoU of two (centre x, centre y, width, height) in float32."""
        return self.box_iou(Box(*map(float, a)), Box(*map(float, b)))

    def nms(self, boxes, probabilities, threshold):
        """boxes (N, 4) cxcywh, probabilities (N, classes) -> probabilities after do_nms_sort, 0 = removed."""
        n, classes = probabilities.shape
        detections = (Detection * n)()
        kept = [np.ascontiguousarray(row, dtype=np.float32).copy() for row in probabilities]
        for i, detection in enumerate(detections):
            detection.bbox, detection.classes = Box(*map(float, boxes[i])), classes
            detection.prob, detection.objectness, detection.sort_class = pointer(kept[i]), 1.0, i
        before = {C.addressof(d.prob.contents): i for i, d in enumerate(detections)}
        self.do_nms_sort(detections, n, classes, threshold)
        result = np.zeros((n, classes), dtype=np.float32)
        for detection in detections:  # the sort moved the structs, not their rows
            address = C.addressof(detection.prob.contents)
            result[before[address]] = np.ctypeslib.as_array(detection.prob, (classes,))
        return result

    def letterbox(self, image, height, width):
        """(C, H, W) float32 -> (C, height, width)."""
        data = np.ascontiguousarray(image, dtype=np.float32)
        c, h, w = data.shape
        out = self.letterbox_image(Image(w, h, c, pointer(data)), width, height)
        result = np.ctypeslib.as_array(out.data, (c, height, width)).copy()
        self.free_image(out)
        return result

    def network(self, cfg, weights=None):
        """A network from a cfg file and, if given, a weights file, for one picture at a time."""
        net = self.load_network(str(cfg).encode(), str(weights).encode() if weights else None, 0)
        self.set_batch_network(net, 1)
        return net

    def forward(self, net, x, truth=None, train=False):
        """Run the network; `outputs` and `deltas` then hold what it left in its layers."""
        x = np.ascontiguousarray(x, dtype=np.float32)
        assert x.size == self.dk_inputs(net) or train, (x.size, self.dk_inputs(net))
        if truth is not None:
            padded = np.zeros(self.dk_truths(net), dtype=np.float32)
            padded[: truth.size] = truth.ravel()
            truth = pointer(padded)
        self.dk_forward(net, pointer(x), truth, int(train))

    def output(self, net, i):
        """Output of layer i, flat."""
        return np.ctypeslib.as_array(self.dk_output(net, i), (self.dk_outputs(net, i),)).copy()

    def delta(self, net, i):
        """The gradient that layer i sends back, flat: minus the derivative of the loss."""
        return np.ctypeslib.as_array(self.dk_delta(net, i), (self.dk_outputs(net, i),)).copy()

    def boxes(self, net, height, width, threshold, nms, classes):
        """Decoded boxes of a picture of that size after NMS: (N, 4) cxcywh in pixels, (N, classes).

        (`Detection.classes` cannot be relied on: only [yolo] sets it.)
        """
        count = C.c_int(0)
        found = self.get_network_boxes(net, width, height, threshold, 0.5, None, 0, C.byref(count))
        n = count.value
        if n and nms:
            self.do_nms_sort(found, n, classes, nms)
        boxes = np.array([[getattr(found[i].bbox, k) for k in "xywh"] for i in range(n)]).reshape(n, 4)
        scores = np.array([np.ctypeslib.as_array(found[i].prob, (classes,)).copy() for i in range(n)])
        self.free_detections(found, n)
        return boxes, scores.reshape(n, classes)


def pointer(array):
    return array.ctypes.data_as(C.POINTER(C.c_float))
