// The native engine: from images and random numbers to weights, in its own threads.
// Compiled once for each variant, an instruction set and a precision: see CMakeLists.txt.

#include <cstdlib>

#include "augmentation.h"
#include "inference.h"
#include "optimiser.h"
#include "team.h"

namespace {

// Memory of zeros, freed at the end of a call.
template <class T> struct Zeros {
    T *of;
    explicit Zeros(int64_t n) : of((T *)calloc(n ? n : 1, sizeof(T))) {}
    ~Zeros() { free(of); }
    Zeros(const Zeros &) = delete;
};

int64_t first_of_share(int64_t n, int64_t threads, int64_t thread) {
    const int64_t first = (n + threads - 1) / threads * thread;
    return first < n ? first : n;
}

struct Training {
    const Job &job;
    float *only_gradients;  // where these are all that is wanted; else null
    Team team;
    Share *shares;  // one a thread
    Activations *images, **hardest;
    float *gradients;  // (threads + 1, PARAMETERS): of each share, and their sum
    Optimiser *optimiser;
    Inference *teachers;
    Maps *maps;  // one a thread, for the teachers
    KnotWeights knots;
    bool stopped = false;

    float *sum() const { return gradients + job.threads * PARAMETERS; }

    void run(int64_t thread) {
        Share &share = shares[thread];
        share.stop = job.stop;
        share.images = images + first_of_share(job.batch_size, job.threads, thread);
        share.hardest = hardest + (share.images - images);
        memcpy(share.statistics, job.state + PARAMETERS, sizeof share.statistics);
        connect(share.net, {job.state, gradients + thread * PARAMETERS, share.statistics});
        if (thread == 0) optimiser->connect(job.state, sum());
        team.share_tasks([&](int task) { return fold_teacher(task); });
        for (int64_t batch = 0; batch < (only_gradients ? 1 : job.batches); batch++) {
            prepare(share, batch, thread);
            if (share.n) compute_gradients(share, 1.0f / job.batch_size);
            if (share.stopped()) __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
            team.wait();
            if (__atomic_load_n(&stopped, __ATOMIC_RELAXED)) return;
            if (thread == 0) record(batch);
            team.share_tasks([&](int task) { return add_gradients(task); });
            if (!only_gradients) take_step(batch);
        }
        if (thread == 0 && !only_gradients) average_statistics();
    }

    bool fold_teacher(int64_t index) {
        if (index < job.teacher_count)
            teachers[index].fold(job.teachers + index * WEIGHTS);
        return index < job.teacher_count;
    }

    // Augment a thread's share of a batch, and find its targets.
    void prepare(Share &share, int64_t batch, int64_t thread) {
        const int64_t n = job.batch_size, offset = share.images - images;
        share.n = first_of_share(n, job.threads, thread + 1) - offset;
        share.kept = max(1, int(__builtin_rint(share.n * double(job.hardest))));
        int64_t i = batch * n + offset;  // of the image in the job
        share.each([&](Activations &k) {
            augment_to_input(job.images + i * PIXELS, job.draws, i, knots, k.x);
            const float *target = job.targets + i * CLASSES;
            k.has_class = false;  // a flat target is that of an image of no digit
            for (int c = 1; c < CLASSES; c++) k.has_class |= target[c] != target[0];
            if (job.teacher_count) {
                memcpy(maps[thread].x, k.x, sizeof k.x);
                soft_target(teachers, job.teacher_count, job.temperature, maps[thread], k.target);
            } else {
                memcpy(k.target, target, sizeof k.target);
            }
            const int channels = SHAPES[CONV5].channels;
            k.dropout = job.draws.dropout ? job.draws.dropout + i * channels : nullptr;
            i++;
        });
    }

    void record(int64_t batch) {
        job.losses[batch] = 0, job.correct[batch] = 0;
        for (int64_t thread = 0; thread < job.threads; thread++) {
            if (!shares[thread].n) continue;
            job.losses[batch] += shares[thread].loss, job.correct[batch] += shares[thread].correct;
        }
    }

    // Sum a part of the gradients, in the threads' order.
    bool add_gradients(int task) {
        constexpr int PART = 2048;
        const int first = task * PART;
        const int end = first + PART < PARAMETERS ? first + PART : PARAMETERS;
        float *total = only_gradients ? only_gradients : sum();
        for (int i = first; i < end; i++) total[i] = gradients[i];
        for (int64_t thread = 1; thread < job.threads; thread++)
            for (int i = first; i < end; i++) total[i] += gradients[thread * PARAMETERS + i];
        return first < PARAMETERS;
    }

    void take_step(int64_t batch) {
        const int64_t steps = job.steps + batch + 1;
        Step step{job.beta1, job.beta2, job.rates[batch], 1 - job.rates[batch] * job.weight_decay};
        step.mean_weight = 1 / (1 - __builtin_pow(job.beta1, steps + 1));
        step.square_weight = 1 / (1 - __builtin_pow(job.beta2, steps));
        step.rotate_mean = batch == 0 || (steps - 1) % REFRESH_EVERY == 0;
        const bool refresh = steps % REFRESH_EVERY == 0;
        step.complete = refresh || batch == job.batches - 1;
        team.share_tasks([&](int task) { return optimiser->take_direction(task, step); });
        team.share_tasks([&](int task) { return optimiser->move(task, step); });
        if (!refresh) return;
        team.share_tasks([&](int task) { return optimiser->multiply_bases(task); });
        team.share_tasks([&](int task) { return optimiser->turn_bases(task); });
    }

    void average_statistics() {
        for (int i = 0; i < STATISTICS; i++) {
            double total = 0;
            for (int64_t thread = 0; thread < job.threads; thread++)
                total += shares[thread].statistics[i];
            job.state[PARAMETERS + i] = total / job.threads;
        }
    }
};

int train(const Job &job, float *only_gradients) {
    Zeros<Share> shares(job.threads);
    Zeros<Activations> images(job.batch_size);
    Zeros<Activations *> hardest(job.batch_size);
    Zeros<float> gradients((job.threads + 1) * PARAMETERS);
    Zeros<Optimiser> optimiser(1);
    Zeros<Inference> teachers(job.teacher_count);
    Zeros<Maps> maps(job.threads);
    if (!shares.of || !images.of || !hardest.of || !gradients.of || !optimiser.of || !teachers.of ||
        !maps.of)
        return NO_MEMORY;
    Training training{job,        only_gradients, {int(job.threads)}, shares.of,   images.of,
                      hardest.of, gradients.of,   optimiser.of,       teachers.of, maps.of};
    auto work = [](void *context, int thread) { ((Training *)context)->run(thread); };
    if (!run_threads(job.threads, work, &training)) return NO_THREADS;
    return training.stopped ? STOPPED : DONE;
}

// What a thread does to its share of images.
struct Each {
    int64_t threads, n;
    const uint8_t *images;
    const Draws *draws;
    const Inference *net;
    Maps *maps;  // one a thread
    KnotWeights knots;
    uint8_t *augmented;
    float *probabilities;

    template <class Work> void share(int64_t thread, Work work) const {
        const int64_t end = first_of_share(n, threads, thread + 1);
        for (int64_t i = first_of_share(n, threads, thread); i < end; i++) work(i);
    }
    void predict(int64_t thread) const {
        Maps &k = maps[thread];
        share(thread, [&](int64_t i) {
            const uint8_t *image = images + i * PIXELS;
            for (int p = 0; p < PIXELS; p++) k.x[p] = image[p] * BRIGHTNESS + DARKNESS;
            net->infer(k);
            float padded[PADDED_CLASSES];
            log_softmax(k.logits, padded);
            memcpy(probabilities + i * CLASSES, padded, CLASSES * sizeof(float));
        });
    }
    void augment(int64_t thread) const {
        share(thread, [&](int64_t i) {
            augment_to_bytes(images + i * PIXELS, *draws, i, knots, augmented + i * PIXELS);
        });
    }
};

int augment(int64_t threads, const uint8_t *images, int64_t n, const Draws &draws, uint8_t *out) {
    Each each{threads, n, images, &draws};
    each.augmented = out;
    auto work = [](void *context, int thread) { ((Each *)context)->augment(thread); };
    return run_threads(threads, work, &each) ? DONE : NO_THREADS;
}

int predict(int64_t threads, const float *weights, const uint8_t *images, int64_t n,
            float *probabilities) {
    Zeros<Inference> net(1);
    Zeros<Maps> maps(threads);
    if (!net.of || !maps.of) return NO_MEMORY;
    net.of->fold(weights);
    Each each{threads, n, images, nullptr, net.of, maps.of};
    each.probabilities = probabilities;
    auto work = [](void *context, int thread) { ((Each *)context)->predict(thread); };
    return run_threads(threads, work, &each) ? DONE : NO_THREADS;
}

}  // namespace

#define NAME_OF(variant) mnistnet_##variant
#define NAME(variant) NAME_OF(variant)
extern "C" {
extern const Variant NAME(VARIANT);
const Variant NAME(VARIANT) = {train, augment, predict};
}
