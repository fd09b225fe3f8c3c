# The compiler's flags, which decide the last bits of what the kernels compute: for all variants, and
# for each. The fingerprint of training counts this file. See CMakeLists.txt.
set(FLAGS -fno-math-errno -fno-trapping-math -fno-strict-aliasing)

# No -march=native: what is built here may run elsewhere. dispatch.cpp asks the processor.
set(AVX2 -mavx2 -mfma)
set(AVX512 ${AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
set(FLAGS_avx512_bf16 ${AVX512} -mavx512bf16 -DBFLOAT16)
set(FLAGS_avx512 ${AVX512})
set(FLAGS_avx2 ${AVX2})
set(FLAGS_neon "")
