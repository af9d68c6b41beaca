"""Other roundings on one machine: networks and maps that are disturbed in their last digits before they are trained.

What a processor changes in a training is the order of additions, an error of about 1e-7 a number, which a chaotic
training then magnifies. The same is had on purpose: whatever an optimiser gets is multiplied by 1 + 1e-6 * noise, and
so is the map from which t-SNE starts. A number that moves under this is no number of the lecture, but of the machine.
"""

import torch

SIZE = 1e-6


def disturb(seed, size=SIZE):
    """From now on disturb every parameter that an optimiser gets, and every map that t-SNE starts from."""
    from helpers.embedding import tsne

    noise = torch.Generator().manual_seed(seed)  # of its own: the lecture's random numbers stay as they are

    def disturbed(x):
        return x * (1 + size * torch.randn(x.shape, generator=noise, dtype=torch.float64)).to(x)

    takes, starts = torch.optim.Optimizer.add_param_group, tsne.initial_map

    def add_param_group(self, group):
        takes(self, group)
        with torch.no_grad():
            for parameter in self.param_groups[-1]["params"]:
                if parameter.is_floating_point() and parameter.device.type != "meta":
                    parameter.copy_(disturbed(parameter))

    torch.optim.Optimizer.add_param_group = add_param_group
    tsne.initial_map = lambda *given, **named: disturbed(starts(*given, **named))
