// MnistNet's layers, handed over from model/architecture.py, as are the mean and the deviation of
// the training images: -DLAYERS={CONV,1,8,3,28,26},… -DIMAGE_MEAN=0.1307 -DIMAGE_STD=0.3081;
// and where each number of the network and of the optimiser lies in the state.
#pragma once

namespace {

enum Kind { CONV, POOL, LINEAR };
struct Shape {
    Kind kind;
    int inputs, channels, kernel;  // channels read and written; side of the window
    int side_in, side;             // of the map that is read, and of the output
};
constexpr Shape SHAPES[] = {LAYERS};
enum Row { CONV1, CONV2, POOL1, CONV3, POOL2, CONV4, CONV5, CLASSIFIER, ROWS };

// An image's grey, 0–255, is scaled and moved into the network's input.
constexpr float BRIGHTNESS = 1 / (255 * IMAGE_STD), DARKNESS = -IMAGE_MEAN / IMAGE_STD;
constexpr int SIDE = SHAPES[CONV1].side_in, PIXELS = SIDE * SIDE;
constexpr int CLASSES = SHAPES[CLASSIFIER].channels;
constexpr int PADDED_CLASSES = (CLASSES + 15) / 16 * 16;  // whole vectors

constexpr int pixels(int row) { return SHAPES[row].side * SHAPES[row].side; }
constexpr int size(int row) { return pixels(row) * SHAPES[row].channels; }
constexpr int columns(int row) {  // of the weights as a matrix, a row for each channel written
    return SHAPES[row].inputs * SHAPES[row].kernel * SHAPES[row].kernel;
}
constexpr bool is_matrix(int row) { return SHAPES[row].kind != POOL; }
constexpr bool is_normalised(int row) { return row < CONV5; }
constexpr int weights_of(int row) {
    return is_matrix(row) ? SHAPES[row].channels * columns(row) : 0;
}
constexpr int vectors_of(int row) {  // biases, and the gains and biases of BatchNorm
    return SHAPES[row].channels * (is_matrix(row) + 2 * is_normalised(row));
}
constexpr int max(int a, int b) { return a > b ? a : b; }
constexpr int widest(int row = ROWS - 1) {
    return row < 0 ? 16 : max(SHAPES[row].channels, widest(row - 1));  // at least a vector
}
// The largest map that a convolution reads, but for the image.
constexpr int largest_read(int row = ROWS - 1) {
    if (row == 0) return 0;
    return max(SHAPES[row].kind == CONV ? size(row - 1) : 0, largest_read(row - 1));
}

// ---- the state, floats: parameters, in the order of MnistNet.parameters(); each BatchNorm's
// running mean and variance; for each matrix (R, C): mean, square (R, C), left (R, R), right
// (C, C), left_basis, right_basis; for all other parameters together: mean, square.

constexpr int parameters_before(int row) {
    return row ? parameters_before(row - 1) + weights_of(row - 1) + vectors_of(row - 1) : 0;
}
constexpr int vectors_before(int row) {
    return row ? vectors_before(row - 1) + vectors_of(row - 1) : 0;
}
constexpr int statistics_before(int row) {
    return row ? statistics_before(row - 1) + 2 * SHAPES[row - 1].channels * is_normalised(row - 1)
               : 0;
}
constexpr int PARAMETERS = parameters_before(ROWS), STATISTICS = statistics_before(ROWS);
constexpr int VECTORS = vectors_before(ROWS), WEIGHTS = PARAMETERS + STATISTICS;

constexpr int moments_of(int row) {
    const int height = SHAPES[row].channels, width = columns(row);
    return is_matrix(row) ? 2 * (height * width + height * height + width * width) : 0;
}
constexpr int moments_before(int row) {
    return row ? moments_before(row - 1) + moments_of(row - 1) : WEIGHTS;
}
constexpr int STATE = moments_before(ROWS) + 2 * VECTORS;

// ---- what the code assumes of the layers

// The step's functions call the layers one by one, in this order.
constexpr bool in_order() {
    constexpr Kind kinds[] = {CONV, CONV, POOL, CONV, POOL, CONV, CONV, LINEAR};
    for (int row = 0; row < ROWS; row++)
        if (SHAPES[row].kind != kinds[row]) return false;
    return true;
}
static_assert(sizeof SHAPES == ROWS * sizeof(Shape) && in_order(), "other layers than step.h's");
// A pooling takes the largest of 2×2, and leaves no row or column out.
constexpr bool pools(int row) { return SHAPES[row].kernel == 2 && SHAPES[row].side_in % 2 == 0; }
static_assert(pools(POOL1) && pools(POOL2), "poolings other than step.h's");
// Channels fill vectors of 16, or half of one.
constexpr bool fills_vectors(int row = CONV5) {
    const int channels = SHAPES[row].channels;
    return (channels == 8 || channels % 16 == 0) && (row == 0 || fills_vectors(row - 1));
}
static_assert(fills_vectors() && SHAPES[CONV1].inputs == 1, "channels do not fill vectors");
static_assert(SHAPES[CLASSIFIER].side == 1, "the classifier does not read the whole map");

}  // namespace
