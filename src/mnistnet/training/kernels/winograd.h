// A 3×3 convolution in float32 with four ninths of the products: y = Aᵀ [(G g Gᵀ) ∘ (Bᵀ d B)] A
// (Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", F(2×2, 3×3)).
#pragma once

#include "convolution.h"

namespace {

// The layer's x (IN, IN, C) is cut into tiles d (4, 4), two pixels apart; each gives y (2, 2).
template <class Y> struct Winograd {
    static constexpr int C = Y::C, O = Y::O, IN = Y::IN, SIDE = Y::HEIGHT, TILES = SIDE / 2;
    static constexpr int L = lanes(O), V = O / L;
    static constexpr int GROUP = V > 2 ? 2 : V;  // vectors of channels at once
    static_assert(Y::K == 3 && Y::HALVES == 1 && SIDE % 2 == 0, "3×3 onto whole tiles");
    float weights[4][4][C][O], bias[O];

    // Of a folded layer, G g Gᵀ.
    void transform(const Y &layer) {
        if constexpr (Y::N > 1) return;  // words of two are not for this
        memcpy(bias, layer.offset, sizeof bias);
        for (int c = 0; c < C; c++)
            for (int o = 0; o < O; o++) {
                float rows[4][3];
                for (int k = 0; k < 3; k++) {
                    float g[3];
                    for (int i = 0; i < 3; i++)
                        g[i] = *(const float *)layer.forward_weights[i][k][c][o][0];
                    rows[0][k] = g[0], rows[3][k] = g[2];
                    rows[1][k] = (g[0] + g[1] + g[2]) / 2, rows[2][k] = (g[0] - g[1] + g[2]) / 2;
                }
                for (int i = 0; i < 4; i++) {
                    const float *g = rows[i], even = (g[0] + g[2]) / 2, odd = g[1] / 2;
                    weights[i][0][c][o] = g[0], weights[i][1][c][o] = even + odd;
                    weights[i][2][c][o] = even - odd, weights[i][3][c][o] = g[2];
                }
            }
    }

    // Hand over y of x, two rows at a time.
    template <class Take> void forward(const float *x, const Take &take) const {
        float d[4][4][TILES][C], products[4][4][TILES][O], y[2][SIDE][O];
        for (int row = 0; row < SIDE; row += 2) {
            transform_input(x + row * IN * C, d);
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    multiply(d[i][j], weights[i][j], i == 1 && j == 1, products[i][j]);
            transform_output(products, y);
            take(row, y[0][0]);
        }
    }

    // Bᵀ d B of a row of tiles.
    static void transform_input(const float *x, float (*d)[4][TILES][C]) {
        constexpr int WIDTH = lanes(C);
        float rows[4][IN * C];
        for (int at = 0; at < IN * C; at += WIDTH) {
            const Vec<WIDTH> x0 = load<WIDTH>(x + at), x1 = load<WIDTH>(x + IN * C + at);
            const Vec<WIDTH> x2 = load<WIDTH>(x + 2 * IN * C + at);
            const Vec<WIDTH> x3 = load<WIDTH>(x + 3 * IN * C + at);
            store<WIDTH>(rows[0] + at, x0 - x2), store<WIDTH>(rows[1] + at, x1 + x2);
            store<WIDTH>(rows[2] + at, x2 - x1), store<WIDTH>(rows[3] + at, x1 - x3);
        }
        for (int i = 0; i < 4; i++)
            for (int tile = 0; tile < TILES; tile++)
                UNROLL for (int c = 0; c < C; c += WIDTH) {
                    Vec<WIDTH> at[4];
                    UNROLL for (int j = 0; j < 4; j++)
                        at[j] = load<WIDTH>(rows[i] + (2 * tile + j) * C + c);
                    store<WIDTH>(d[i][0][tile] + c, at[0] - at[2]);
                    store<WIDTH>(d[i][1][tile] + c, at[1] + at[2]);
                    store<WIDTH>(d[i][2][tile] + c, at[2] - at[1]);
                    store<WIDTH>(d[i][3][tile] + c, at[1] - at[3]);
                }
    }

    // d (TILES, C) times w (C, O); where both rows of Aᵀ have a one, the bias comes in.
    void multiply(const float (*d)[C], const float (*w)[O], bool biased,
                  float (*products)[O]) const {
        constexpr int TILE = divisor(TILES, REGISTERS / GROUP);
        for (int first = 0; first < TILES; first += TILE)
            for (int o = 0; o < O; o += GROUP * L) {
                Vec<L> sum[TILE][GROUP] = {};
                if (biased) UNROLL for (int t = 0; t < TILE; t++)
                    UNROLL for (int v = 0; v < GROUP; v++) sum[t][v] = load<L>(bias + o + v * L);
                UNROLL for (int c = 0; c < C; c++)
                    UNROLL for (int v = 0; v < GROUP; v++) {
                        const Vec<L> weight = load<L>(w[c] + o + v * L);
                        UNROLL for (int t = 0; t < TILE; t++) sum[t][v] += d[first + t][c] * weight;
                    }
                UNROLL for (int t = 0; t < TILE; t++)
                    UNROLL for (int v = 0; v < GROUP; v++)
                        store<L>(products[first + t] + o + v * L, sum[t][v]);
            }
    }

    // Aᵀ of the products, A.
    static void transform_output(const float (*products)[4][TILES][O], float (*y)[SIDE][O]) {
        for (int tile = 0; tile < TILES; tile++)
            UNROLL for (int o = 0; o < O; o += L) {
                Vec<L> upper[4], lower[4];
                UNROLL for (int j = 0; j < 4; j++) {
                    Vec<L> p[4];
                    UNROLL for (int i = 0; i < 4; i++) p[i] = load<L>(products[i][j][tile] + o);
                    upper[j] = p[0] + p[1] + p[2], lower[j] = p[1] - p[2] - p[3];
                }
                store<L>(y[0][2 * tile] + o, upper[0] + upper[1] + upper[2]);
                store<L>(y[0][2 * tile + 1] + o, upper[1] - upper[2] - upper[3]);
                store<L>(y[1][2 * tile] + o, lower[0] + lower[1] + lower[2]);
                store<L>(y[1][2 * tile + 1] + o, lower[1] - lower[2] - lower[3]);
            }
    }
};

}  // namespace
