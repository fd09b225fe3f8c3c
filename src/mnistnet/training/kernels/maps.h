// What lies between convolutions: GELU and BatchNorm, and pooling with GELU and BatchNorm after it.
//
// Names: y →(GELU)→ a →(BatchNorm)→ z; dy, da and dz are the loss's derivatives with respect to
// these. GELU's derivative needs what GELU computes: both are made at once, and both kept.
#pragma once

#include "convolution.h"
#include "gelu.h"

namespace {

// A map that was activated, and what its derivative was.
template <int SIDE_, int C_> struct Map {
    static constexpr int SIDE = SIDE_, C = C_, SIZE = SIDE * SIDE * C, ROW = SIDE * C;
    // Of few channels, two pixels side by side share a register: a span is what repeats.
    static constexpr int SPAN = C < LANES && SIDE % 2 == 0 ? 2 * C : C;
    static constexpr int L = lanes(SPAN);
    Number a[SIZE], slope[SIZE];
};

// The largest z of each 2×2 of a map, activated.
template <int SIDE, int C> struct Pooled : Map<SIDE, C> {
    Number top[SIDE * SIDE * C];  // the a, below, whose z was the largest
};

// Rows of y → a = gelu(y) and its slope, from `row` on; the sums of a and a·a are added.
template <class M>
void activate_rows(const float *y, int row, int rows, M &map, Sums<M::SPAN> &sums) {
    constexpr int L = M::L;
    for (int i = row * M::ROW; i < (row + rows) * M::ROW; i += M::ROW, y += M::ROW) {
        RowSums<M::SPAN> of_row;
        for (int at = 0; at < M::ROW; at += M::SPAN)
            UNROLL for (int v = 0; v < M::SPAN; v += L) {
                Vec<L> slope;
                const Vec<L> a = gelu<L>(load<L>(y + at + v), &slope);
                store<L>(map.a + i + at + v, a), store<L>(map.slope + i + at + v, slope);
                of_row.add(v / L, a, a);
            }
        sums.add(of_row);
    }
}

// A convolution and GELU: x → a. The sums for BatchNorm are added to the norm's.
template <class X, class Y, class M>
void convolve(const X *x, const Y &layer, M &map, BatchNorm &norm) {
    Sums<M::SPAN> sums;
    layer.forward(x, [&](int row, const float *y) {
        activate_rows(y, row, Y::Forward::DOWN, map, sums);
    });
    sums.add_to(norm, M::C);
}

// Choose of each 2×2 of a row of pairs. Where BatchNorm's weight is negative, so is its scale, and
// the smallest a has the largest z.
template <class M, class P> void choose_tops(const M &below, int row, const float *weight, P &map) {
    constexpr int L = lanes(M::C);
    for (int column = 0; column < P::SIDE; column++)
        UNROLL for (int v = 0; v < M::C; v += L) {
            const Number *corner = below.a + (2 * row * M::SIDE + 2 * column) * M::C + v;
            const Vec<L> zero = {};
            const Ints<L> falling = load<L>(weight + v) < zero;
            Vec<L> top = load<L>(corner);
            UNROLL for (int k = 1; k < 4; k++) {
                const Vec<L> next = load<L>(corner + (k / 2 * M::SIDE + k % 2) * M::C);
                top = falling ? smaller<L>(top, next) : larger<L>(top, next);
            }
            store<L>(map.top + (row * P::SIDE + column) * M::C + v, top);
        }
}

// A convolution and GELU as above, and what of each 2×2 will be the largest after BatchNorm.
template <class X, class Y, class M, class P>
void convolve(const X *x, const Y &layer, M &map, BatchNorm &norm, P &pooled) {
    static_assert(Y::Forward::DOWN == 2, "a pooling takes rows in pairs");
    Sums<M::SPAN> sums;
    layer.forward(x, [&](int row, const float *y) {
        activate_rows(y, row, 2, map, sums);
        choose_tops(map, row / 2, norm.weight, pooled);
    });
    sums.add_to(norm, M::C);
}

// BatchNorm of the largest, and GELU: top → a; its sums are added to the next norm's.
template <class P> void pool(P &map, const BatchNorm &norm_below, BatchNorm &norm) {
    constexpr int L = lanes(P::C);
    Sums<P::C> sums;
    for (int row = 0; row < P::SIZE; row += P::ROW) {
        RowSums<P::C> of_row;
        for (int i = row; i < row + P::ROW; i += P::C)
            UNROLL for (int v = 0; v < P::C; v += L) {
                const Vec<L> z = load<L>(norm_below.scale + v) * load<L>(map.top + i + v) +
                                 load<L>(norm_below.shift + v);
                Vec<L> slope;
                const Vec<L> a = gelu<L>(z, &slope);
                store<L>(map.a + i + v, a), store<L>(map.slope + i + v, slope);
                of_row.add(v / L, a, a);
            }
        sums.add(of_row);
    }
    sums.add_to(norm);
}

// Back through a convolution, whose frame holds dy: → dz of the map that it read. Its sums of dz
// and dz·a, which make BatchNorm's gradients, are added to the norm's.
template <class Y, class M>
void convolve_backward(const Y &layer, Number *dz, const M &map, BatchNorm &norm) {
    constexpr int L = M::L;
    Sums<M::SPAN> sums;
    layer.backward([&](int row, const float *dx) {
        for (int i = row * M::ROW; i < (row + Y::Backward::DOWN) * M::ROW; i += M::ROW) {
            RowSums<M::SPAN> of_row;
            for (int at = i; at < i + M::ROW; at += M::SPAN, dx += M::SPAN)
                UNROLL for (int v = 0; v < M::SPAN; v += L) {
                    store<L>(dz + at + v, load<L>(dx + v));
                    of_row.add(v / L, load<L>(dx + v), load<L>(map.a + at + v));
                }
            sums.add(of_row);
        }
    });
    sums.add_to(norm, M::C);
}

// Back through BatchNorm and GELU: dz → dy in the layer's frame.
template <class M, class Y>
void deactivate(const Number *dz, const M &map, const BatchNorm &norm, Y &layer) {
    constexpr int L = M::L;
    Frame<Y, M::SPAN> frame{layer};
    for (int row = 0; row < M::SIDE; row++)
        for (int column = 0; column < M::ROW / M::SPAN; column++)
            UNROLL for (int v = 0; v < M::SPAN / L; v++) {
                const int at = row * M::ROW + column * M::SPAN + v * L;
                const Vec<L> da = norm.backward<L>(load<L>(dz + at), load<L>(map.a + at), v * L);
                frame.put(row, column, v, da * load<L>(map.slope + at));
            }
}

// Back through the pooled map's BatchNorm and GELU: dz → dz of the largest, in place.
template <class P>
void unpool(Number *dz, const P &map, const BatchNorm &norm, BatchNorm &norm_below) {
    constexpr int L = lanes(P::C);
    Sums<P::C> sums;
    for (int row = 0; row < P::SIZE; row += P::ROW) {
        RowSums<P::C> of_row;
        for (int i = row; i < row + P::ROW; i += P::C)
            UNROLL for (int v = 0; v < P::C; v += L) {
                const int at = i + v;
                const Vec<L> da = norm.backward<L>(load<L>(dz + at), load<L>(map.a + at), v);
                const Vec<L> below = da * load<L>(map.slope + at);
                store<L>(dz + at, below);
                of_row.add(v / L, below, load<L>(map.top + at));
            }
        sums.add(of_row);
    }
    sums.add_to(norm_below);
}

// Give each dz to the first of its four that was the largest, then as in deactivate.
template <class P, class M, class Y>
void deactivate_pooled(const Number *dz, const P &map, const M &below, const BatchNorm &norm,
                       Y &layer) {
    constexpr int L = lanes(M::C);
    const Vec<L> zero = {};
    Frame<Y, Y::O> frame{layer};
    for (int row = 0; row < P::SIDE; row++)
        for (int column = 0; column < P::SIDE; column++)
            UNROLL for (int v = 0; v < M::C / L; v++) {
                const int from = (row * P::SIDE + column) * M::C + v * L;
                const Vec<L> top = load<L>(map.top + from);
                Vec<L> left = load<L>(dz + from);  // until it is given
                UNROLL for (int k = 0; k < 4; k++) {
                    const int r = 2 * row + k / 2, c = 2 * column + k % 2;
                    const int at = (r * M::SIDE + c) * M::C + v * L;
                    const Vec<L> a = load<L>(below.a + at);
                    const Ints<L> is_top = a == top;
                    const Vec<L> da = norm.backward<L>(is_top ? left : zero, a, v * L);
                    left = is_top ? zero : left;
                    frame.put(r, c, v, da * load<L>(below.slope + at));
                }
            }
}

}  // namespace
