// Threads that work in step: barriers, and tasks that whoever is free takes next.
#pragma once

#include "interface.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

struct Team {
    int threads;
    int arrived = 0, generation = 0, next_task = 0;

    // Wait until all threads are here; what each has written, all may then read.
    void wait() {
        const int current = __atomic_load_n(&generation, __ATOMIC_ACQUIRE);
        if (__atomic_add_fetch(&arrived, 1, __ATOMIC_ACQ_REL) == threads) {
            arrived = next_task = 0;
            __atomic_store_n(&generation, current + 1, __ATOMIC_RELEASE);
            return;
        }
        // Most waits are short. Where there are more threads than processors, others must run.
        for (int spins = 0; __atomic_load_n(&generation, __ATOMIC_ACQUIRE) == current; spins++)
            if (spins > 2000)
                yield_thread();
            else
                pause();
    }

    // Run tasks 0, 1, … until `run(task)` is false, and wait for the others.
    template <class Run> void share_tasks(Run run) {
        while (run(__atomic_fetch_add(&next_task, 1, __ATOMIC_RELAXED))) {}
        wait();
    }

    static void pause() {
#if defined(__x86_64__)
        _mm_pause();
#endif
    }
};

}  // namespace
