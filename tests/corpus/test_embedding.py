import numpy as np
import pyarrow as pa
import pytest
from made_posts import draw, sentence, tiny_settings

from postsense.corpus.embedding import encode_posts, mean_vector, open_encoders, unit_vectors
from tolerances import rounding


def slow_unit_vectors(pooled, present, center):
    rows = []
    for vector, is_there in zip(pooled, present):
        shifted = [float(x) - float(c) for x, c in zip(vector, center)]
        length = sum(x * x for x in shifted) ** 0.5
        rows.append([x / length if is_there and length else 0.0 for x in shifted])
    return rows


def test_vectors_are_shifted_and_scaled_one_by_one():
    generator = np.random.default_rng(0)
    pooled, center = generator.normal(size=(6, 5)).astype(np.float32), generator.normal(size=5)
    pooled[4] = center
    center, present = center.astype(np.float32), np.array([1, 1, 0, 1, 1, 1], bool)
    pooled[4] = center
    found = unit_vectors(pooled, present, center)
    np.testing.assert_allclose(found, slow_unit_vectors(pooled, present, center), atol=rounding(5))
    assert not found[2].any() and not found[4].any()


def test_without_a_center_the_direction_stays():
    found = unit_vectors(np.array([[3.0, 4.0]]), np.array([True]))
    np.testing.assert_allclose(found, [[0.6, 0.8]], atol=rounding(2))
    assert found.dtype == np.float32


def vectors_of(column):
    return column.store.pooled(column.rows)


def test_the_mean_is_of_the_posts_that_have_a_vector(tmp_path, tiny_bert, tiny_vit):
    encoders = open_encoders(tiny_settings(tiny_bert, tiny_vit).encoders)
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    images = [
        draw(tmp_path / "a.png", 1),
        None,
        draw(tmp_path / "b.png", 2),
        str(tmp_path / "torn.png"),
    ]
    table = pa.table(
        {
            "text": pa.array([sentence(0), None, None, sentence(1)], pa.string()),
            "image": pa.array(images, pa.string()),
            "comments": pa.array([[sentence(2)], [], [], [sentence(3), sentence(0)]]),
        }
    )
    features = encode_posts(table, encoders)
    pooled = features.image.store.pooled(features.image.rows[[0, 2]])
    np.testing.assert_allclose(mean_vector(features.image), pooled.mean(axis=0), rtol=1e-6)
    assert (features.text.rows >= 0).tolist() == [True, False, False, True]
    said, written = vectors_of(features.comments), vectors_of(features.text)
    assert len(said) == 3 and (said[2] == written[0]).all()  # computed once
    assert list(features.bad) == [3]


@pytest.mark.parametrize("dim", [1, 16])
def test_posts_without_any_picture_have_a_mean_of_zero(tiny_bert, tiny_vit, dim):
    encoders = open_encoders(tiny_settings(tiny_bert, tiny_vit).encoders)
    nothing = {"text": pa.nulls(dim, pa.string()), "image": pa.nulls(dim, pa.string())}
    table = pa.table({**nothing, "comments": pa.array([[]] * dim, pa.list_(pa.string()))})
    features = encode_posts(table, encoders)
    assert not mean_vector(features.image).any() and not mean_vector(features.text).any()
