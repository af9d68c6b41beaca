"""The tables of checksums belong to the catalogue, and no two files to one checksum."""

from helpers.data import checksums
from helpers.data.catalogue import CATALOGUE


def test_every_row_is_a_file_of_its_entry():
    for table, name in (
        (checksums.MNIST, "mnist"),
        ({file: (size, known) for file, (size, known, _) in checksums.FASHION.items()}, "fashion-mnist"),
        ({file: (size, known) for file, size, known in checksums.VOC}, "voc2007"),
        ({file: (size, known) for file, size, known in checksums.NSMC}, "nsmc"),
        ({file: (size, known) for file, size, known in checksums.PHOTOGRAPHS.values()}, "photographs"),
    ):
        assert {file.path: (file.size, file.sha256) for file in CATALOGUE[name].files} == table


def test_no_two_files_share_a_hash():
    hashes = [file.sha256 for entry in CATALOGUE.values() for file in entry.files]
    assert len(hashes) == len(set(hashes))
