"""Every table encoder keeps its contract: a vector and tokens, whatever the columns are."""

import pytest
import torch
from light_models import all_finite

from medfusion_jupyter.nn import table_encoders

EACH = pytest.mark.parametrize("name", list(table_encoders))


def table(features, categories, n=6):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, features, generator=g), torch.randint(0, 3, (n, categories), generator=g)


@EACH
@pytest.mark.parametrize(("features", "categories"), [(1, 0), (0, 1), (5, 0), (0, 3), (4, 2)])
def test_any_mixture_of_columns_gives_a_vector_and_tokens(name, features, categories):
    torch.manual_seed(0)
    encoder = table_encoders(name)(num_features=features, cardinalities=(3,) * categories).eval()
    numeric, codes = table(features, categories)
    vector, tokens, visible = encoder.encode(numeric, codes)
    width = encoder.out_features
    assert torch.equal(encoder(numeric, codes), vector)
    assert vector.shape == (6, width)
    assert visible is None
    assert tokens.shape == (6, tokens.shape[1], width)
    assert tokens.shape[1] >= features + categories
    (vector.square().sum() + tokens.square().sum()).backward()
    assert all_finite(p.grad for p in encoder.parameters())
    assert not [key for key, p in encoder.named_parameters() if p.grad is None]


@EACH
def test_a_rows_output_does_not_hang_on_its_batch(name):
    torch.manual_seed(0)
    encoder = table_encoders(name)(num_features=4, cardinalities=(3, 3)).eval()
    numeric, codes = table(4, 2)
    assert torch.allclose(encoder(numeric, codes)[2:3], encoder(numeric[2:3], codes[2:3]), atol=1e-6)


@EACH
def test_each_column_has_a_say(name):
    torch.manual_seed(0)
    encoder = table_encoders(name)(num_features=3, cardinalities=(3, 3)).eval()
    numeric, codes = table(3, 2)
    vector = encoder(numeric, codes)
    for column in range(3):
        other = numeric.clone()
        other[:, column] += 1
        assert not torch.allclose(encoder(other, codes), vector, atol=1e-5)
    for column in range(2):
        other_codes = codes.clone()
        other_codes[:, column] = (codes[:, column] + 1) % 3
        assert not torch.allclose(encoder(numeric, other_codes), vector, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "residual_mlp"])
def test_the_tokens_of_the_columns_add_up_to_the_first_layer(name):
    torch.manual_seed(0)
    encoder = table_encoders(name)(num_features=3, cardinalities=(4, 3))
    numeric, codes = table(3, 2)
    bias = encoder.first.linear.bias
    added = (encoder.first.tokens(numeric, codes) - bias).sum(dim=1) + bias
    assert torch.allclose(added, encoder.first(numeric, codes), atol=1e-5)


@EACH
def test_a_missing_category_that_training_never_saw_says_nothing(name):
    torch.manual_seed(0)
    encoder = table_encoders(name)(num_features=1, cardinalities=(3, 3))
    embeddings = [m for m in encoder.modules() if isinstance(m, torch.nn.Embedding)]
    assert len(embeddings) == 2
    assert all((m.weight[0] == 0).all() and (m.weight[1] != 0).any() for m in embeddings)
