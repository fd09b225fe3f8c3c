// Forward and backward pass of MnistNet over a thread's share of a batch.
//
// The layers are few and small: what a framework spends between them, and on writing every map
// out and reading it back, is more than the arithmetic. Here each map is made, activated and
// measured while it is in the cache, and the forward pass keeps what the backward pass needs.
//
// With -DBFLOAT16, for processors that multiply pairs of it (twice as fast), maps and weights are
// kept as bfloat16, and what is summed is float32; the first and the last layer are float32
// altogether. The classifier is a convolution of the last 2×2 map: 32 channels to ten, padded to
// sixteen.
#pragma once

#include <algorithm>

#include "maps.h"

namespace {

template <int ROW> using MapOf = Map<SHAPES[ROW].side, SHAPES[ROW].channels>;
template <int ROW> using PooledOf = Pooled<SHAPES[ROW].side, SHAPES[ROW].channels>;
template <class T, int ROW, int PADDED = SHAPES[ROW].channels>
using LayerOf = Layer<T, SHAPES[ROW].side_in, SHAPES[ROW].inputs, PADDED, SHAPES[ROW].kernel,
                      SHAPES[ROW].channels>;

struct Network {
    LayerOf<float, CONV1> conv1;
    LayerOf<Number, CONV2> conv2;
    LayerOf<Number, CONV3> conv3;
    LayerOf<Number, CONV4> conv4;
    LayerOf<Number, CONV5> conv5;
    LayerOf<float, CLASSIFIER, PADDED_CLASSES> classifier;
    BatchNorm norm1, norm2, norm2_pooled, norm3, norm3_pooled, norm4;
};

// What is kept of an image for the backward pass.
struct Activations {
    float x[PIXELS];
    float target[CLASSES];
    float loss;
    bool has_class;  // whether it shows a digit
    const float *dropout;  // factors on conv5's channels; null: none
    MapOf<CONV1> one;
    MapOf<CONV2> two;
    PooledOf<POOL1> two_pooled;
    MapOf<CONV3> three;
    PooledOf<POOL2> three_pooled;
    MapOf<CONV4> four;
    float five[size(CONV5)], logits[PADDED_CLASSES];  // then the loss's derivatives
    Number dz[largest_read()];  // of the map that the backward pass has reached
};

// A thread's share of a batch.
struct Share {
    Network net;
    float statistics[STATISTICS];  // running, of this thread alone
    double loss;                   // this share's part of the batch's mean
    int64_t correct, n, kept;      // images, and how many of them the backward pass goes through
    const volatile int32_t *stop;
    Activations *images;
    Activations **hardest;  // those that are kept

    bool stopped() const { return stop && *stop; }
    // Call `work` with each image, unless training is to stop.
    template <class Work> void each(Work work) {
        for (int64_t i = 0; i < n && !stopped(); i++) work(images[i]);
    }
    template <class Work> void each_kept(Work work) {
        for (int64_t i = 0; i < kept && !stopped(); i++) work(*hardest[i]);
    }
};

// Hands out where the network's numbers lie, in the order of MnistNet.parameters() and buffers().
struct Cursor {
    const float *parameters;
    float *gradients, *statistics;

    template <class T> void take(T &part, int weights, int biases) {
        part.weight = parameters, part.bias = parameters + weights;
        part.weight_gradient = gradients, part.bias_gradient = gradients + weights;
        parameters += weights + biases, gradients += weights + biases;
    }
    template <class T> void take_layer(T &layer, int row) {
        take(layer, weights_of(row), SHAPES[row].channels);
    }
    void take_norm(BatchNorm &norm, int row) {
        const int channels = SHAPES[row].channels;
        take(norm, channels, channels);
        norm.running_mean = statistics, norm.running_variance = statistics + channels;
        statistics += 2 * channels;
    }
};

void connect(Network &net, Cursor at) {
    at.take_layer(net.conv1, CONV1), at.take_norm(net.norm1, CONV1);
    at.take_layer(net.conv2, CONV2), at.take_norm(net.norm2, CONV2);
    at.take_norm(net.norm2_pooled, POOL1);
    at.take_layer(net.conv3, CONV3), at.take_norm(net.norm3, CONV3);
    at.take_norm(net.norm3_pooled, POOL2);
    at.take_layer(net.conv4, CONV4), at.take_norm(net.norm4, CONV4);
    at.take_layer(net.conv5, CONV5);
    at.take_layer(net.classifier, CLASSIFIER);
}

// The index of the largest of all classes.
int argmax(const float *of_class) {
    int best = 0;
    for (int k = 1; k < CLASSES; k++) best = of_class[k] > of_class[best] ? k : best;
    return best;
}

// Logits → log-probabilities, in place, and probabilities; (PADDED_CLASSES), the padding written.
void log_softmax(float *logits, float *probabilities) {
    const float best = logits[argmax(logits)];
    for (int k = CLASSES; k < PADDED_CLASSES; k++) logits[k] = best - 80;  // too little to count
    Vec<LANES> totals = {};
    for (int k = 0; k < PADDED_CLASSES; k += LANES) {
        const Vec<LANES> less = larger<LANES>(load<LANES>(logits + k) - best, Vec<LANES>{} - 80.0f);
        const Vec<LANES> powers = exponential<LANES>(less);
        totals += powers;
        store<LANES>(probabilities + k, powers);
    }
    const float total = sum_of_lanes<LANES>(totals), log_total = __builtin_logf(total);
    for (int k = 0; k < PADDED_CLASSES; k++) {
        logits[k] = logits[k] - best - log_total;
        probabilities[k] /= total;
    }
}

// The cross-entropy of an image's logits against its target, ten probabilities, times `weight`;
// they become its derivatives.
double cross_entropy(float *logits, const float *target, float weight) {
    float probabilities[PADDED_CLASSES];
    double loss = 0;
    log_softmax(logits, probabilities);
    for (int k = 0; k < CLASSES; k++) {
        loss -= double(target[k]) * logits[k];
        logits[k] = weight * (probabilities[k] - target[k]);
    }
    for (int k = CLASSES; k < PADDED_CLASSES; k++) logits[k] = 0;
    return weight * loss;
}

// dy (side, side, O) → the layer's frame, as it is.
template <class Y> void frame_whole(const float *dy, Y &layer) {
    constexpr int L = lanes(Y::O);
    Frame<Y, Y::O> frame{layer};
    for (int i = 0; i < Y::HEIGHT * Y::HEIGHT; i++)
        for (int v = 0; v < Y::O / L; v++)
            frame.put(i / Y::HEIGHT, i % Y::HEIGHT, v, load<L>(dy + i * Y::O + v * L));
}

void multiply_channels(float *map, const float *factors) {
    for (int i = 0; factors && i < size(CONV5); i++) map[i] *= factors[i % SHAPES[CONV5].channels];
}

// The last two layers.
void head_forward(Share &share, Activations &k, float weight) {
    Network &net = share.net;
    net.conv5.forward(k.four.a, k.five);
    multiply_channels(k.five, k.dropout);
    net.classifier.forward(k.five, k.logits);
    share.correct += k.has_class && argmax(k.logits) == argmax(k.target);
    const double loss = cross_entropy(k.logits, k.target, weight);
    share.loss += loss;
    k.loss = loss < 1e30 ? loss : 1e30;  // not a number: an order is needed all the same
}

void head_backward(Share &share, Activations &k) {
    Network &net = share.net;
    float dy[size(CONV5)];
    frame_whole(k.logits, net.classifier);
    net.classifier.accumulate_weight_gradient(k.five);
    net.classifier.backward(dy);
    multiply_channels(dy, k.dropout);
    frame_whole(dy, net.conv5);
    net.conv5.accumulate_weight_gradient(k.four.a);
    convolve_backward(net.conv5, k.dz, k.four, net.norm4);
}

// A BatchNorm waits for all images. `weight`: of an image's loss in the mean.
void forward(Share &share, float weight) {
    Network &net = share.net;
    net.conv1.fold(nullptr);
    share.each([&](Activations &k) { convolve(k.x, net.conv1, k.one, net.norm1); });
    net.norm1.finish_forward(CONV1, share.n);
    net.conv2.fold(&net.norm1);
    share.each([&](Activations &k) {
        convolve(k.one.a, net.conv2, k.two, net.norm2, k.two_pooled);
    });
    net.norm2.finish_forward(CONV2, share.n);
    share.each([&](Activations &k) { pool(k.two_pooled, net.norm2, net.norm2_pooled); });
    net.norm2_pooled.finish_forward(POOL1, share.n);
    net.conv3.fold(&net.norm2_pooled);
    share.each([&](Activations &k) {
        convolve(k.two_pooled.a, net.conv3, k.three, net.norm3, k.three_pooled);
    });
    net.norm3.finish_forward(CONV3, share.n);
    share.each([&](Activations &k) { pool(k.three_pooled, net.norm3, net.norm3_pooled); });
    net.norm3_pooled.finish_forward(POOL2, share.n);
    net.conv4.fold(&net.norm3_pooled);
    share.each([&](Activations &k) { convolve(k.three_pooled.a, net.conv4, k.four, net.norm4); });
    net.norm4.finish_forward(CONV4, share.n);
    net.conv5.fold(&net.norm4), net.classifier.fold(nullptr);
    share.each([&](Activations &k) { head_forward(share, k, weight); });
}

// Choose the images of the largest loss. The others' derivatives count as zero, at every BatchNorm,
// whose statistics they are part of, too.
void choose_hardest(Share &share) {
    for (int64_t i = 0; i < share.n; i++) share.hardest[i] = &share.images[i];
    Activations **end = share.hardest + share.kept;
    auto harder = [](const Activations *a, const Activations *b) {
        return a->loss > b->loss || (a->loss == b->loss && a < b);
    };
    std::nth_element(share.hardest, end, share.hardest + share.n, harder);
    std::sort(share.hardest, end);
}

void backward(Share &share) {
    Network &net = share.net;
    share.each_kept([&](Activations &k) { head_backward(share, k); });
    net.norm4.finish_backward(CONV4, share.n);
    share.each_kept([&](Activations &k) {
        deactivate(k.dz, k.four, net.norm4, net.conv4);
        net.conv4.accumulate_weight_gradient(k.three_pooled.a);
        convolve_backward(net.conv4, k.dz, k.three_pooled, net.norm3_pooled);
    });
    net.norm3_pooled.finish_backward(POOL2, share.n);
    share.each_kept([&](Activations &k) {
        unpool(k.dz, k.three_pooled, net.norm3_pooled, net.norm3);
    });
    net.norm3.finish_backward(CONV3, share.n);
    share.each_kept([&](Activations &k) {
        deactivate_pooled(k.dz, k.three_pooled, k.three, net.norm3, net.conv3);
        net.conv3.accumulate_weight_gradient(k.two_pooled.a);
        convolve_backward(net.conv3, k.dz, k.two_pooled, net.norm2_pooled);
    });
    net.norm2_pooled.finish_backward(POOL1, share.n);
    share.each_kept([&](Activations &k) { unpool(k.dz, k.two_pooled, net.norm2_pooled, net.norm2); });
    net.norm2.finish_backward(CONV2, share.n);
    share.each_kept([&](Activations &k) {
        deactivate_pooled(k.dz, k.two_pooled, k.two, net.norm2, net.conv2);
        net.conv2.accumulate_weight_gradient(k.one.a);
        convolve_backward(net.conv2, k.dz, k.one, net.norm1);
    });
    net.norm1.finish_backward(CONV1, share.n);
    share.each_kept([&](Activations &k) {
        deactivate(k.dz, k.one, net.norm1, net.conv1);
        net.conv1.accumulate_weight_gradient(k.x);
    });
    net.conv1.write_gradients(nullptr), net.conv2.write_gradients(&net.norm1);
    net.conv3.write_gradients(&net.norm2_pooled), net.conv4.write_gradients(&net.norm3_pooled);
    net.conv5.write_gradients(&net.norm4), net.classifier.write_gradients(nullptr);
}

// Gradients of a share: into what `connect` was given. `weight`: of an image's loss in the mean.
void compute_gradients(Share &share, float weight) {
    share.loss = 0, share.correct = 0;
    forward(share, weight);
    choose_hardest(share);
    backward(share);
}

}  // namespace
