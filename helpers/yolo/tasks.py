"""Classes against features: five ways in which a class can depend on two numbers, and classifiers to find them.

A world gives every point x of the square [-3, 3]^2 a score f(x); the point belongs to class 1 with probability
sigma(4 f(x)), so f = 0 is the true boundary and the best accuracy that any classifier can have is known.
"""

import numpy as np

from helpers.course.progress import track

WORLDS = {
    "line": lambda x: x[:, 0] + 0.5 * x[:, 1],
    "ring": lambda x: 2 - np.hypot(x[:, 0], x[:, 1]),
    "checkerboard": lambda x: 1.5 * np.sign(x[:, 0] * x[:, 1]) * np.minimum(abs(x[:, 0]), abs(x[:, 1])),
    "steps": lambda x: np.where(x[:, 0] > 1, 1.0, -1.0) * np.where((x[:, 1] > -1) & (x[:, 0] > -2), 1.0, -1.0),
    "waves": lambda x: np.sin(2.5 * x[:, 0]) * 1.2 - 0.6 * x[:, 1],
}


def probability(world, x):
    """P(class 1) at points x (N, 2): (N,)."""
    return 1 / (1 + np.exp(-4 * WORLDS[world](x)))


def sample(world, n, seed):
    """n points (n, 2), uniform in the square, and their classes (n,) 0 or 1."""
    rng = np.random.default_rng([list(WORLDS).index(world), seed])
    x = rng.uniform(-3, 3, (n, 2))
    return x, (rng.random(n) < probability(world, x)).astype(int)


def best_possible(world, points=400):
    """The accuracy of whoever knows f: the mean of max(p, 1 - p) over the square (Bayes' rule)."""
    side = np.linspace(-3, 3, 2 * points + 1)[1::2]  # midpoints
    p = probability(world, np.stack(np.meshgrid(side, side), -1).reshape(-1, 2))
    return float(np.maximum(p, 1 - p).mean())


def classifiers():
    """{name: a scikit-learn classifier that chooses its setting from a grid by cross-validation}."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC
    from sklearn.tree import DecisionTreeClassifier

    grids = {
        "logistic regression": (LogisticRegression(), {"C": [0.1, 1, 10]}),
        "quadratic discriminant": (QuadraticDiscriminantAnalysis(), {"reg_param": [0, 0.1, 0.5]}),
        "nearest neighbours": (KNeighborsClassifier(), {"n_neighbors": [5, 15, 45]}),
        "decision tree": (DecisionTreeClassifier(random_state=0), {"min_samples_leaf": [2, 8, 20]}),
        "SVM, RBF kernel": (SVC(), {"C": [1, 10], "gamma": [0.1, 0.3, 1, 3]}),
    }
    return {name: GridSearchCV(model, grid, cv=3) for name, (model, grid) in grids.items()}


def compare(worlds=tuple(WORLDS), n=300, seeds=10, n_test=2000):
    """{(world, classifier): accuracies on new points, one a seed}."""
    scores = {}
    for world, seed in track([(world, seed) for world in worlds for seed in range(seeds)], "worlds"):
        x, y = sample(world, n, seed)
        test, test_y = sample(world, n_test, 1000 + seed)
        for name, model in classifiers().items():
            scores.setdefault((world, name), []).append(float(model.fit(x, y).score(test, test_y)))
    return scores


def boundaries(axes, world, n=300, seed=0):
    """Draw each classifier's answer over the square, the training points and the true boundary on its axis."""
    from helpers.course.plots import BLACK, BLUE, ORANGE

    x, y = sample(world, n, seed)
    side = np.linspace(-3, 3, 121)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    for ax, model in zip(axes, classifiers().values()):
        answer = model.fit(x, y).predict(grid).reshape(121, 121)
        ax.contourf(side, side, answer, levels=[-0.5, 0.5, 1.5], colors=[BLUE, ORANGE], alpha=0.3)
        ax.contour(side, side, probability(world, grid).reshape(121, 121), levels=[0.5], colors=BLACK, linewidths=1)
        for c, (colour, marker) in enumerate(((BLUE, "o"), (ORANGE, "^"))):
            ax.scatter(*x[y == c].T, s=6, color=colour, marker=marker, lw=0)
        ax.set(xticks=[], yticks=[], aspect="equal")
        ax.grid(False)
