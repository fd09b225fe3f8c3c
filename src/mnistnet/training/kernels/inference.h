// The network as it is used: running statistics, nothing kept. For teachers and for prediction.
#pragma once

#include "step.h"
#include "winograd.h"

namespace {

// A pooling reads y of two rows, and activates as few as it can: GELU falls and then rises, so
// the largest of four is that of the largest y or of the smallest.
template <class M, class P>
void pool_rows(const float *y, int row, const BatchNorm &norm, P *a) {
    constexpr int L = lanes(M::C);
    for (int column = 0; column < M::SIDE / 2; column++)
        UNROLL for (int v = 0; v < M::C; v += L) {
            const float *corner = y + 2 * column * M::C + v;
            const Vec<L> y0 = load<L>(corner), y1 = load<L>(corner + M::C);
            const Vec<L> y2 = load<L>(corner + M::ROW), y3 = load<L>(corner + M::ROW + M::C);
            const Vec<L> scale = load<L>(norm.scale + v), zero = {};
            const Vec<L> largest = larger<L>(larger<L>(y0, y1), larger<L>(y2, y3));
            const Vec<L> smallest = smaller<L>(smaller<L>(y0, y1), smaller<L>(y2, y3));
            const Vec<L> rising = larger<L>(gelu<L>(largest), gelu<L>(smallest));
            Vec<L> top = rising;
            if (norm.falls) {
                const Vec<L> first = smaller<L>(gelu<L>(y0), gelu<L>(y1));
                const Vec<L> second = smaller<L>(gelu<L>(y2), gelu<L>(y3));
                top = scale < zero ? smaller<L>(first, second) : rising;
            }
            store<L>(a + (row / 2 * (M::SIDE / 2) + column) * M::C + v,
                     gelu<L>(scale * top + load<L>(norm.shift + v)));
        }
}

template <class X, class Y, class A> void convolve_only(const X *x, const Y &layer, A *a) {
    constexpr int ROW = Y::HEIGHT * Y::O, L = lanes(ROW % LANES ? Y::O : LANES);
    layer.forward(x, [&](int row, const float *y) {
        for (int i = 0; i < Y::Forward::DOWN * ROW; i += L)
            store<L>(a + row * ROW + i, gelu<L>(load<L>(y + i)));
    });
}

// Of one image at a time.
struct Maps {
    float x[PIXELS];
    Number one[size(CONV1)], two[size(POOL1)], three[size(POOL2)], four[size(CONV4)];
    float five[size(CONV5)], logits[PADDED_CLASSES];
};

// Not Winograd's in bfloat16: the processor multiplies pairs, and his sums would be rounded.
template <class Y> const auto &fastest(const Y &layer, const Winograd<Y> &winograd) {
    if constexpr (Y::N == 1)
        return winograd;
    else
        return layer;
}

// A network that is used only.
struct Inference {
    Network net;
    Winograd<decltype(net.conv2)> conv2;
    Winograd<decltype(net.conv3)> conv3;

    // weights: parameters, and then statistics.
    void fold(const float *weights) {
        float *unused = const_cast<float *>(weights);  // no gradients or statistics are written
        connect(net, {weights, unused, unused + PARAMETERS});
        BatchNorm *norms[] = {&net.norm1, &net.norm2,        &net.norm2_pooled,
                              &net.norm3, &net.norm3_pooled, &net.norm4};
        for (int row = 0; row < CONV5; row++) norms[row]->use_running_statistics(row);
        net.conv1.fold(nullptr), net.conv2.fold(&net.norm1), net.conv3.fold(&net.norm2_pooled);
        net.conv4.fold(&net.norm3_pooled), net.conv5.fold(&net.norm4);
        net.classifier.fold(nullptr);
        conv2.transform(net.conv2), conv3.transform(net.conv3);
    }

    // maps.x → maps.logits.
    void infer(Maps &maps) const {
        convolve_only(maps.x, net.conv1, maps.one);
        fastest(net.conv2, conv2).forward(maps.one, [&](int row, const float *y) {
            pool_rows<MapOf<CONV2>>(y, row, net.norm2, maps.two);
        });
        fastest(net.conv3, conv3).forward(maps.two, [&](int row, const float *y) {
            pool_rows<MapOf<CONV3>>(y, row, net.norm3, maps.three);
        });
        convolve_only(maps.three, net.conv4, maps.four);
        net.conv5.forward(maps.four, maps.five);
        net.classifier.forward(maps.five, maps.logits);
    }
};

// The ensemble's target for an image: its networks' mean log-probabilities, softened.
void soft_target(const Inference *teachers, int64_t count, float temperature, Maps &maps,
                 float *target) {
    float mean[PADDED_CLASSES] = {}, probabilities[PADDED_CLASSES];
    for (int64_t teacher = 0; teacher < count; teacher++) {
        teachers[teacher].infer(maps);
        log_softmax(maps.logits, probabilities);
        for (int k = 0; k < CLASSES; k++) mean[k] += maps.logits[k] / (count * temperature);
    }
    log_softmax(mean, probabilities);
    memcpy(target, probabilities, CLASSES * sizeof(float));
}

}  // namespace
