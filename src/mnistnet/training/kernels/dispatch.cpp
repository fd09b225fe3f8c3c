// The functions that Python calls: they check sizes, and choose the variant. Compiled for any
// processor, so nothing here needs the instructions of a variant.

#include <cstring>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "interface.h"
#include "shapes.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

// Start threads, or none: a part of them would wait for the others for ever.
bool run_threads(int64_t threads, void (*work)(void *context, int thread), void *context) {
    std::mutex mutex;
    std::condition_variable changed;
    int go = 0;  // 1: work; -1: return
    auto run = [&](int thread) {
        std::unique_lock<std::mutex> lock(mutex);
        changed.wait(lock, [&] { return go != 0; });
        const bool all_there = go == 1;
        lock.unlock();
        if (all_there) work(context, thread);
    };
    std::vector<std::thread> others;
    bool started = true;
    try {
        for (int thread = 1; thread < threads; thread++) others.emplace_back(run, thread);
    } catch (const std::exception &) {
        started = false;
    }
    {
        std::lock_guard<std::mutex> lock(mutex);
        go = started ? 1 : -1;
    }
    changed.notify_all();
    if (started) work(context, 0);
    for (std::thread &thread : others) thread.join();
    return started;
}

void yield_thread() { std::this_thread::yield(); }

namespace {

#if defined(HAVE_avx512_bf16)
extern "C" const Variant mnistnet_avx512_bf16;
#endif
#if defined(HAVE_avx512)
extern "C" const Variant mnistnet_avx512;
#endif
#if defined(HAVE_avx2)
extern "C" const Variant mnistnet_avx2;
#endif
#if defined(HAVE_neon)
extern "C" const Variant mnistnet_neon;
#endif

struct Choice {
    const char *name;
    const Variant *variant;
    const Variant *in_float32;  // what predicts
    bool supported;             // by this processor
};

constexpr int MOST = 4;

// The variants that were built, best first.
int choices(Choice (&all)[MOST]) {
    int n = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    (void)avx512;
#endif
#if defined(HAVE_avx512_bf16)
    all[n++] = {"avx512_bf16", &mnistnet_avx512_bf16, &mnistnet_avx512,
                avx512 && __builtin_cpu_supports("avx512bf16")};
#endif
#if defined(HAVE_avx512)
    all[n++] = {"avx512", &mnistnet_avx512, &mnistnet_avx512, avx512};
#endif
#if defined(HAVE_avx2)
    all[n++] = {"avx2", &mnistnet_avx2, &mnistnet_avx2, avx2};
#endif
#if defined(HAVE_neon)
    all[n++] = {"neon", &mnistnet_neon, &mnistnet_neon, true};  // every 64-bit ARM has it
#endif
    return n;
}

bool find(const char *name, Choice &found) {
    Choice all[MOST];
    for (int i = 0, n = choices(all); i < n; i++)
        if (name && all[i].supported && !strcmp(name, all[i].name)) return found = all[i], true;
    return false;
}

// Whether everything that a draw refers to is there.
bool draws_fit(const Draws &draws, int64_t n) {
    if (draws.grid && draws.grid_columns != 6 && draws.grid_columns != 56) return false;
    for (int64_t i = 0; draws.downsample && i < n; i++)
        if (draws.downsample[i] > SIDE) return false;
    if (!draws.noise_kind) return true;
    if (!draws.noise_level || !draws.noise_offset) return false;
    for (int64_t i = 0; i < n; i++) {
        const int kind = draws.noise_kind[i];
        const int64_t offset = draws.noise_offset[i];
        const int64_t end = kind == GRAIN ? draws.grains : draws.coarse_count;
        if (kind == NO_NOISE) continue;
        if (kind > GAPS || offset < 0 || offset >= end) return false;
        if (kind == GRAIN ? !draws.grain : !draws.coarse) return false;
    }
    return true;
}

constexpr int64_t MOST_THREADS = 1024, MOST_IMAGES = int64_t(1) << 40;

bool sizes_fit(int64_t threads, int64_t n) {
    return threads >= 1 && threads <= MOST_THREADS && n >= 0 && n <= MOST_IMAGES;
}

int check(const Job &job) {
    if (job.batch_size < 1 || job.batch_size > MOST_IMAGES || job.batches < 0) return BAD_SIZES;
    if (job.batches > MOST_IMAGES / job.batch_size || job.steps < 0) return BAD_SIZES;
    if (!sizes_fit(job.threads, job.batch_size)) return BAD_SIZES;
    if (!job.images || !job.state || !job.losses || !job.correct) return BAD_SIZES;
    if (!(job.hardest > 0 && job.hardest <= 1)) return BAD_SIZES;
    if (job.teacher_count < 0 || job.teacher_count > 1000) return BAD_SIZES;
    if (!job.targets || (job.teacher_count && (!job.teachers || !(job.temperature > 0))))
        return BAD_SIZES;
    return draws_fit(job.draws, job.batch_size * job.batches) ? DONE : BAD_DRAWS;
}

}  // namespace

// Train with every batch: the state, losses and correct are written.
EXPORT int mnistnet_train(const char *variant, const Job *job) {
    Choice choice;
    if (!find(variant, choice)) return NO_VARIANT;
    if (!job || !job->rates) return BAD_SIZES;
    const int status = check(*job);
    return status ? status : choice.variant->train(*job, nullptr);
}

// Write the gradients of the first batch, float (PARAMETERS), its loss and correct.
EXPORT int mnistnet_gradients(const char *variant, const Job *job, float *gradients) {
    Choice choice;
    if (!find(variant, choice)) return NO_VARIANT;
    if (!job || !gradients || job->batches < 1) return BAD_SIZES;
    const int status = check(*job);
    return status ? status : choice.variant->train(*job, gradients);
}

// images, out: uint8 (n, 28, 28).
EXPORT int mnistnet_augment(const char *variant, int64_t threads, const uint8_t *images, int64_t n,
                            const Draws *draws, uint8_t *out) {
    Choice choice;
    if (!find(variant, choice)) return NO_VARIANT;
    if (!sizes_fit(threads, n) || !images || !draws || !out) return BAD_SIZES;
    if (!draws_fit(*draws, n)) return BAD_DRAWS;
    return choice.variant->augment(threads, images, n, *draws, out);
}

// weights: float (WEIGHTS); images: uint8 (n, 28, 28); probabilities: float (n, 10), written.
EXPORT int mnistnet_predict(const char *variant, int64_t threads, const float *weights,
                            const uint8_t *images, int64_t n, float *probabilities) {
    Choice choice;
    if (!find(variant, choice)) return NO_VARIANT;
    if (!sizes_fit(threads, n) || !weights || !images || !probabilities) return BAD_SIZES;
    return choice.in_float32->predict(threads, weights, images, n, probabilities);
}

// The variants that this processor can run, best first, with commas between.
EXPORT const char *mnistnet_variants() {
    static const std::string names = [] {
        std::string joined;
        Choice all[MOST];
        for (int i = 0, n = choices(all); i < n; i++)
            if (all[i].supported) joined += (joined.empty() ? "" : ",") + std::string(all[i].name);
        return joined;
    }();
    return names.c_str();
}

EXPORT const char *mnistnet_compiler() {
#if defined(__clang__)
    return "clang " __clang_version__;
#else
    return "gcc " __VERSION__;
#endif
}

EXPORT int64_t mnistnet_state_size() { return STATE; }
EXPORT int64_t mnistnet_weights_size() { return WEIGHTS; }
EXPORT int64_t mnistnet_job_size() { return sizeof(Job); }
