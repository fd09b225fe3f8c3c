"""Pictures drawn from strokes: the ink lies where the lines are."""

from __future__ import annotations

import numpy as np

from mnistnet.data.strokes import draw_ink, draw_lines, draw_ruling, handwritten, smooth

ZIGZAG = [(0.0, 0.0), (0.6, 0.3), (0.0, 0.7), (0.6, 1.0)]


def test_coverage_falls_from_one_to_zero_within_a_pixel_at_the_pens_edge() -> None:
    line = np.array([[2.0, 4.0], [7.0, 4.0]])
    coverage = draw_lines([line], (9, 10), radius=1.25)
    assert coverage[:, 5].tolist() == [0, 0, 0, 0.75, 1, 0.75, 0, 0, 0]
    assert coverage[4].tolist() == [0, 0.75, *[1] * 6, 0.75, 0]
    outside = draw_lines([line - 5], (9, 10), radius=1.25)  # partly beyond two edges
    assert np.array_equal(outside[:4, :5], coverage[5:, 5:])


def test_ink_is_cropped_and_has_the_height_that_is_asked_for() -> None:
    ink = draw_ink([smooth(np.array(ZIGZAG))], height=50, pen=0.1)
    assert ink.shape[0] == 50
    for side in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
        assert side.max() > 0.3
    assert (ink.min(), ink.max()) == (0, 1)


def test_handwriting_keeps_strokes_joined_where_they_share_a_point() -> None:
    rng = np.random.default_rng(0)
    first, second = handwritten([ZIGZAG, [ZIGZAG[-1], (0.3, 0.3)]], rng)
    assert np.array_equal(first[-1], second[0])
    again, _ = handwritten([ZIGZAG, ZIGZAG], rng)
    assert not np.allclose(first, again)


def test_ruling_repeats_with_its_pitch() -> None:
    lines = draw_ruling((30, 20), pitch=10, width=2, tilt=0, squared=False)
    assert np.flatnonzero(lines.all(axis=1)).tolist() == [0, 1, 10, 11, 20, 21]
    assert not lines[2:10].any()
    assert draw_ruling((30, 20), pitch=10, width=2, tilt=0, squared=True)[:, 10].all()
