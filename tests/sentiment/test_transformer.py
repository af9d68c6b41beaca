"""The small transformer: against PyTorch's own encoder layers, and against what is known of its trained weights."""

import pytest
import torch
from torch import nn

from helpers.data.store import cache
from helpers.sentiment import transformer
from helpers.sentiment.transformer import PARTS, Transformer, WordPiece

PIECES = {p: k for k, p in enumerate("[PAD] [UNK] [CLS] [SEP] un ##mov ##ed film ! cafe 영 \u1103 ##\u1162".split())}


@pytest.fixture
def pieces():
    return WordPiece(PIECES)


def test_words_are_lower_case_without_accents_and_marks_stand_alone(pieces):
    assert pieces.words("A Café, n'est-ce\tpas?\x00") == ["a", "cafe", ",", "n", "'", "est", "-", "ce", "pas", "?"]
    assert pieces.words("電影 $5") == ["電", "影", "$", "5"]


def test_a_word_becomes_its_longest_pieces_and_an_unknown_one_a_single_number(pieces):
    assert pieces.encode("Unmoved film!") == [2, 4, 5, 6, 7, 8, 3]
    assert pieces.encode("unmovedx") == [2, 1, 3]  # one part is no piece: all of the word is unknown
    assert pieces.encode("un" + "mov" * 40) == [2, 1, 3]  # longer than any word
    assert pieces.encode("film " * 9, length=5) == [2, 7, 7, 7, 3]
    assert pieces.encode("") == [2, 3]


def test_the_encoder_is_that_of_pytorch():
    """nn.TransformerEncoderLayer in its form with the norm behind, GELU and without dropout."""
    torch.manual_seed(0)
    ours = Transformer(size=30, width=24, layers=2, heads=4, inner=48, positions=16).double().eval()
    ids = torch.randint(1, 30, (3, 7))
    ids[1, 4:] = 0
    x = ours.norm(ours.token(ids) + ours.place.weight[:7])
    for layer in ours.layers:
        theirs = nn.TransformerEncoderLayer(24, 4, 48, 0.0, "gelu", 1e-12, batch_first=True).double().eval()
        attention = theirs.self_attn
        with torch.no_grad():
            attention.in_proj_weight.copy_(torch.cat([layer.query.weight, layer.key.weight, layer.value.weight]))
            attention.in_proj_bias.copy_(torch.cat([layer.query.bias, layer.key.bias, layer.value.bias]))
        for mine, other in (
            (attention.out_proj, layer.mix),
            (theirs.linear1, layer.wide),
            (theirs.linear2, layer.narrow),
        ):
            mine.load_state_dict(other.state_dict())
        theirs.norm1.load_state_dict(layer.norm1.state_dict())
        theirs.norm2.load_state_dict(layer.norm2.state_dict())
        x = theirs(x, src_key_padding_mask=ids == 0)
    real = ids != 0
    with torch.no_grad():
        assert torch.allclose(ours.states(ids)[real], x[real], atol=1e-12)
        assert torch.allclose(ours(ids), ours(nn.functional.pad(ids, (0, 5))), atol=1e-12)  # padding changes nothing
        assert torch.allclose(ours(ids).norm(dim=1), torch.ones(3).double())


def test_weights_come_out_of_the_names_of_the_file():
    ours = Transformer(size=30, width=32, layers=2, heads=1, inner=48, positions=16)
    state = ours.state_dict()
    stored = {"embeddings.word_embeddings.weight": state["token.weight"]}
    stored["embeddings.token_type_embeddings.weight"] = torch.ones(2, 32)
    stored["embeddings.position_embeddings.weight"] = state["place.weight"] - 1
    for kind in ("weight", "bias"):
        stored[f"embeddings.LayerNorm.{kind}"] = state[f"norm.{kind}"]
        for k in (0, 1):
            for name, theirs in PARTS.items():
                stored[f"encoder.layer.{k}.{theirs}.{kind}"] = state[f"layers.{k}.{name}.{kind}"]
    ids = torch.randint(1, 30, (2, 5))
    with torch.no_grad():
        # 1e-6: adding 1 and taking it away rounds in 32 bits
        assert torch.allclose(transformer.from_tensors(stored)(ids), ours(ids), atol=1e-6)


def test_sentences_are_as_similar_as_its_authors_say():
    """The cosines that the documentation of Sentence Transformers prints for all-MiniLM-L6-v2, to four digits."""
    if not (cache() / "minilm" / "files" / "model.safetensors").exists():
        pytest.skip("needs the weights: python -m helpers data fetch minilm")
    model, pieces = transformer.load()
    texts = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
    x = transformer.embed(model, [pieces.encode(text) for text in texts])
    known = torch.tensor([[1.0, 0.6660, 0.1046], [0.6660, 1.0, 0.1411], [0.1046, 0.1411, 1.0]])
    assert torch.allclose(x @ x.T, known, atol=1e-4)  # printed to four digits


def test_the_head_finds_what_can_be_told_apart_and_chooses_its_strength_on_other_groups():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator).numpy()
    labels = (x[:, 0] > 0).astype(int)
    head, strength = transformer.linear_head(x, labels, [f"film {k % 20}" for k in range(200)])
    assert (head.predict(x) == labels).mean() > 0.95 and strength in (1.0, 3.0, 10.0, 30.0, 100.0)
