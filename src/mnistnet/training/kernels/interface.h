// What Python hands over and calls (see native.py), and what a variant of the engine offers.
#pragma once

#include <cstdint>

// Random numbers that augment N images, drawn in draws.py. A null pointer: nothing of that kind.
struct Draws {
    const float *grid;     // (N, grid_columns): weights of fields that add up to a sampling grid
    int64_t grid_columns;  // 6: affine alone; 56: and 25 knots of an elastic field per coordinate
    const float *stroke;   // (N): pixels to dilate by, or, negative, to erode by
    const uint8_t *downsample;    // (N): side to downsample to, 7–16; 0: not
    const float *contrast;        // (N, 3): black, gain, top; gain 0: not touched
    const uint8_t *noise_kind;    // (N): NO_NOISE …
    const float *noise_level;     // (N)
    const int32_t *noise_offset;  // (N): row in `grain` or `coarse`
    const float *grain;           // (grains, 28, 28): normally distributed
    int64_t grains;
    const float *coarse;  // (coarse_count, 7, 7): stains, -1 to 1, or gaps, 0 or 1
    int64_t coarse_count;
    const float *dropout;  // (N, channels of the last map): factors
};
enum NoiseKind { NO_NOISE, GRAIN, STAIN, GAPS };

// What is trained on in one call: batches · batch_size images.
struct Job {
    int64_t threads, batch_size, batches;
    const uint8_t *images;  // (N, 28, 28)
    const float *targets;   // (N, 10): probabilities; of images with a class, teachers have better ones
    Draws draws;
    const float *teachers;  // (teacher_count, weights)
    int64_t teacher_count;
    float temperature;
    const float *rates;  // (batches): learning rates
    float beta1, beta2, weight_decay;
    float hardest;              // share of a batch, the images of the largest loss, to learn from
    int64_t steps;              // taken before
    float *state;               // see shapes.h; updated
    double *losses;             // (batches): written, the mean over a batch
    int64_t *correct;           // (batches): written
    volatile int32_t *stop;     // non-zero: return soon; the state is then of no use. May be null
};

// Return codes; native.py words them.
enum Status { DONE, NO_VARIANT, BAD_SIZES, NO_MEMORY, NO_THREADS, BAD_DRAWS, STOPPED };

// The engine, compiled for one instruction set and precision.
struct Variant {
    int (*train)(const Job &job, float *gradients);  // gradients not null: of the first batch alone
    int (*augment)(int64_t threads, const uint8_t *images, int64_t n, const Draws &, uint8_t *out);
    int (*predict)(int64_t threads, const float *weights, const uint8_t *images, int64_t n,
                   float *probabilities);
};

// In dispatch.cpp, which is compiled for any processor.
bool run_threads(int64_t threads, void (*work)(void *context, int thread), void *context);
void yield_thread();
