// Products of matrices in tiles of 6 x 16, of which every other part of this folder is made.
//
// Each value is one chain of multiply-adds in the order of k, in stretches whose length depends on k's size alone. So a
// row's result does not depend on how many rows there are, nor on which thread computes it: not by one bit.
#pragma once
#include <algorithm>

#include "simd.h"
#include "threads.h"

constexpr int kTileRows = 6, kPanel = 16, kMostStretch = 256, kBlockRows = 192;

// panel[k * 16 + j] = rows[j][k], for 16 rows of `size` floats.
inline void pack(const float* const* rows, int size, float* panel) {
  int k = 0;
  for (; k + 8 <= size; k += 8) {
    if (k % 16 == 0)  // sixteen streams are more than the processor's own prefetching follows
      for (int j = 0; j < kPanel; j++) __builtin_prefetch(rows[j] + k + 64);
    transpose(rows, k, panel + k * kPanel, kPanel);
    transpose(rows + 8, k, panel + k * kPanel + 8, kPanel);
  }
  for (; k < size; k++)
    for (int j = 0; j < kPanel; j++) panel[k * kPanel + j] = rows[j][k];
}

// c[i][0..15] (+)= sum over k of a[i][k] * b(k)[0..15], for M rows.
template <int M, class B>
inline void tile(const float* a, int64_t a_stride, const B& b, int size, float* c, int64_t c_stride, bool add) {
  v8 low[M], high[M];
  for (int i = 0; i < M; i++) low[i] = high[i] = all(0);
#pragma GCC unroll 4
  for (int k = 0; k < size; k++) {
    const float* row = b(k);
    const v8 b0 = load(row), b1 = load(row + 8);
    for (int i = 0; i < M; i++) {
      const v8 x = all(a[i * a_stride + k]);
      low[i] += x * b0;
      high[i] += x * b1;
    }
  }
  for (int i = 0; i < M; i++, c += c_stride) {
    store(c, add ? load(c) + low[i] : low[i]);
    store(c + 8, add ? load(c + 8) + high[i] : high[i]);
  }
}

template <class B>
inline void tiles(int count, const float* a, int64_t a_stride, const B& b, int size, float* c, int64_t c_stride,
                  bool add) {
  for (; count > 0; count -= kTileRows, a += kTileRows * a_stride, c += kTileRows * c_stride) switch (count) {
      case 1: tile<1>(a, a_stride, b, size, c, c_stride, add); break;
      case 2: tile<2>(a, a_stride, b, size, c, c_stride, add); break;
      case 3: tile<3>(a, a_stride, b, size, c, c_stride, add); break;
      case 4: tile<4>(a, a_stride, b, size, c, c_stride, add); break;
      case 5: tile<5>(a, a_stride, b, size, c, c_stride, add); break;
      default: tile<6>(a, a_stride, b, size, c, c_stride, add);
    }
}

// y [m, n] = x [m, k] * w [n, k] transposed
inline void multiply(const float* x, const float* w, float* y, int m, int n, int k) {
  const int stretches = (k + kMostStretch - 1) / kMostStretch, stretch = ((k + stretches - 1) / stretches + 7) / 8 * 8;
  const int wide = 2 * kPanel, across = (n + wide - 1) / wide, down = (m + kBlockRows - 1) / kBlockRows;
  Threads::shared().run(across * down, [&](int item) {
    const int m0 = item % down * kBlockRows, rows = std::min(m - m0, kBlockRows);
    const int n0 = item / down * wide, n1 = std::min(n, n0 + wide);
    float panel[kMostStretch * kPanel], edge[kBlockRows * kPanel];
    for (int j = n0; j < n1; j += kPanel) {
      const bool whole = j + kPanel <= n;
      float* c = whole ? y + (int64_t)m0 * n + j : edge;
      const int64_t c_stride = whole ? n : kPanel;
      for (int k0 = 0; k0 < k; k0 += stretch) {
        const float* columns[kPanel];  // past the end: the last one again, whose results are not used
        for (int t = 0; t < kPanel; t++) columns[t] = w + (int64_t)std::min(j + t, n - 1) * k + k0;
        const int size = std::min(stretch, k - k0);
        pack(columns, size, panel);
        tiles(rows, x + (int64_t)m0 * k + k0, k, [&](int at) { return panel + at * kPanel; }, size, c, c_stride, k0 > 0);
      }
      for (int i = 0; !whole && i < rows; i++)
        std::memcpy(y + (int64_t)(m0 + i) * n + j, edge + i * kPanel, (n - j) * sizeof(float));
    }
  });
}
