// MnistNet's layers, as compiled.py hands them over from model/architecture.py:
// -DLAYERS={CONV,1,8,3,28,26},…
#pragma once

enum Kind { CONV, POOL, LINEAR };
struct Shape {
    Kind kind;
    int inputs, channels, kernel;  // channels read and written; side of the window
    int side_in, side;             // of the map that is read, and of the output
};
constexpr Shape SHAPES[] = {LAYERS};
enum Row { CONV1, CONV2, POOL1, CONV3, POOL2, CONV4, CONV5, CLASSIFIER, ROWS };

constexpr int PIXELS = SHAPES[CONV1].side_in * SHAPES[CONV1].side_in;
constexpr int CLASSES = SHAPES[CLASSIFIER].channels;
constexpr int PADDED_CLASSES = (CLASSES + 15) / 16 * 16;  // whole vectors

constexpr int pixels(int row) { return SHAPES[row].side * SHAPES[row].side; }
constexpr int size(int row) { return pixels(row) * SHAPES[row].channels; }
constexpr int columns(int row) {  // of the weights as a matrix, a row for each channel written
    return SHAPES[row].inputs * SHAPES[row].kernel * SHAPES[row].kernel;
}
constexpr int larger(int a, int b) { return a > b ? a : b; }
constexpr int widest(int row = ROWS - 1) {
    return row < 0 ? 16 : larger(SHAPES[row].channels, widest(row - 1));  // at least a vector
}
constexpr int largest_output(int row = ROWS - 1) {
    return row < 0 ? 0 : larger(size(row), largest_output(row - 1));
}
// The largest map that a convolution reads, but for the picture.
constexpr int largest_read(int row = ROWS - 1) {
    if (row == 0) return 0;
    return larger(SHAPES[row].kind == CONV ? size(row - 1) : 0, largest_read(row - 1));
}

// The step's functions call the layers one by one, in this order.
constexpr bool in_order() {
    constexpr Kind kinds[] = {CONV, CONV, POOL, CONV, POOL, CONV, CONV, LINEAR};
    for (int row = 0; row < ROWS; row++)
        if (SHAPES[row].kind != kinds[row]) return false;
    return true;
}
static_assert(sizeof SHAPES == ROWS * sizeof(Shape) && in_order(), "other layers than step.cpp's");
// A pooling takes the largest of 2×2, and leaves no row or column out.
constexpr bool pools(int row) { return SHAPES[row].kernel == 2 && SHAPES[row].side_in % 2 == 0; }
static_assert(pools(POOL1) && pools(POOL2), "poolings other than step.cpp's");
// Channels fill vectors of 16, or half of one.
constexpr bool fills_vectors(int row = CONV5) {
    const int channels = SHAPES[row].channels;
    return (channels == 8 || channels % 16 == 0) && (row == 0 || fills_vectors(row - 1));
}
static_assert(fills_vectors() && SHAPES[CONV1].inputs == 1, "channels do not fill vectors");
static_assert(SHAPES[CLASSIFIER].side == 1, "the classifier does not read the whole map");
