"""The panel of lecture 07: what it needs of an autoencoder of digits and its map, in the book and in a notebook."""

from copy import deepcopy

from helpers.course.errors import UserError
from helpers.course.evaluation import predict
from helpers.course.panels import Panel
from helpers.embedding import places
from helpers.embedding.scores import squared_error

SHAPE = (1, 28, 28)
VOTES = 10  # neighbours that the panel names


def layers(part):
    """A `nn.Sequential` as JSON values, a dict for each layer."""
    listed = []
    for layer in part:
        one = {"kind": type(layer).__name__}
        if one["kind"] == "Linear":
            one["out"] = layer.out_features
        elif one["kind"] == "Conv2d":
            one |= {"out": layer.out_channels, "size": layer.kernel_size[0]}
            one |= {"stride": layer.stride[0], "padding": layer.padding[0]}
        elif one["kind"] == "Unflatten":
            one["shape"] = list(layer.unflattened_size)
        elif one["kind"] == "Upsample":
            one["factor"] = int(layer.scale_factor)
        elif one["kind"] not in ("Flatten", "ReLU"):
            raise UserError(f"the panel has no layer {one['kind']}; it has Linear, Conv2d, ReLU, Flatten, Upsample")
        listed.append(one)
    return listed


def halves(values):
    """A tensor as an array of 16 bits a number."""
    return values.detach().cpu().half().numpy()


def contents(model, atlas, samples, error):
    """(facts, arrays) for `helpers.course.panels`: the layers of `model`, in 16 bits a number, and its map.

    samples  digits (S, 1, 28, 28) for the buttons, none: an empty list
    error    the mean squared error of a new digit
    """
    found = places.errors(atlas, places.place(atlas, atlas.codes, left_out=True))
    facts = {
        "shape": SHAPE,
        "latent": atlas.codes.shape[1],
        "encoder": layers(model.encoder),
        "decoder": layers(model.decoder),
        "near": places.NEAR,
        "votes": VOTES,
        "distance": found.distance.mean().item(),
        "own": found.own.double().mean().item(),
        "error": error,
    }
    arrays = {
        f"{part}.{name}": halves(values)
        for part in ("encoder", "decoder")
        for name, values in getattr(model, part).state_dict().items()
    }
    arrays |= {"codes": halves(atlas.codes), "y": halves(atlas.y), "labels": atlas.labels.byte().numpy()}
    if len(samples):
        arrays["samples"] = (255 * samples[:, 0]).round().byte().numpy()
    return facts, arrays


def show(model, x, labels, samples, **options):
    """The panel for a model that was just trained, as the output of a notebook's cell.

    model    with `encoder` and `decoder`, both `nn.Sequential`; the decoder's outputs are logits of pixels
    x        digits (N, 1, 28, 28) that it has not learned from, with `labels` (N,): they get a t-SNE map
    options  of `tsne`
    """
    if tuple(x.shape[1:]) != SHAPE:
        raise UserError(f"the panel's pictures are {SHAPE[1]} x {SHAPE[2]} pixels; got the shape {tuple(x.shape)}")
    model = deepcopy(model).cpu().half().float()  # as the panel will have it
    atlas = places.draw(model, x, labels, **options)
    again = predict(model, x, forward=lambda x: model(x).sigmoid(), device="cpu")
    error = squared_error(x, again).mean().item()
    return Panel("autoencoder", "A digit of your own", *contents(model, atlas, samples, error))
