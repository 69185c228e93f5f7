// Eight floats at a time, by the compiler's vector extension: AVX2 where the build allows it, else what the machine has.
#pragma once
#include <cstdint>
#include <cstring>

typedef float v8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t i8 __attribute__((vector_size(32), aligned(4), may_alias));

#ifdef __clang__
#define PICK(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PICK(a, b, ...) __builtin_shuffle(a, b, i8{__VA_ARGS__})
#endif

inline v8 load(const float* p) { return *reinterpret_cast<const v8*>(p); }
inline void store(float* p, v8 v) { *reinterpret_cast<v8*>(p) = v; }
inline v8 all(float x) { return v8{x, x, x, x, x, x, x, x}; }
inline v8 larger(v8 a, v8 b) { return a > b ? a : b; }
inline float sum(v8 v) { return ((v[0] + v[4]) + (v[1] + v[5])) + ((v[2] + v[6]) + (v[3] + v[7])); }

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// e^x for x <= 0: 2^n times a polynomial in the rest (Cephes' expf). Relative error about 1e-7; below -87 it is e^-87.
inline v8 exp_of_negative(v8 x) {
  x = larger(x, all(-87.0f));
  const v8 magic = all(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  v8 n = x * all(1.44269504f) + magic;
  const i8 bits = (i8)n - (i8)magic;
  n -= magic;
  const v8 r = x - n * all(0.693359375f) + n * all(2.12194440e-4f);
  v8 p = all(1.9875691500e-4f);
  p = p * r + all(1.3981999507e-3f);
  p = p * r + all(8.3334519073e-3f);
  p = p * r + all(4.1665795894e-2f);
  p = p * r + all(1.6666665459e-1f);
  p = p * r + all(5.0000001201e-1f);
  p = p * r * r + r + all(1.0f);
  return p * (v8)((bits + 127) << 23);
}

// Eight rows of eight floats, `rows[i][at..]`, written as columns: out[k * stride + i] = rows[i][at + k].
inline void transpose(const float* const* rows, int at, float* out, int stride) {
  v8 r[8], t[8];
  for (int i = 0; i < 8; i++) r[i] = load(rows[i] + at);
  for (int i = 0; i < 8; i += 2) {
    t[i] = PICK(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = PICK(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int i = 0; i < 8; i += 4)
    for (int j = 0; j < 2; j++) {
      r[i + 2 * j] = PICK(t[i + j], t[i + j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
      r[i + 2 * j + 1] = PICK(t[i + j], t[i + j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    }
  for (int k = 0; k < 4; k++) {
    store(out + k * stride, PICK(r[k], r[k + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store(out + (k + 4) * stride, PICK(r[k], r[k + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}
