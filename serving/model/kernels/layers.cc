// The other operators of a Llama's layers: Linear, the head, RMSNorm, SiLU x gate.
#include <cmath>
#include <vector>

#include "abi.h"
#include "matmul.h"

// x [..., k], weight [n, k] -> [..., n]
OPERATOR(RowLinear) {
  const int k = (int)shapes[1][1], n = (int)shapes[1][0];
  if (nparam != 3 || shapes[0][ndims[0] - 1] != k) return kWrongInputs;
  multiply((float*)params[0], (float*)params[1], (float*)params[2], (int)product(shapes[0], ndims[0] - 1), n, k);
  return kDone;
}
SHAPE(RowLinear) {
  std::vector<int64_t> shape(shapes[0], shapes[0] + ndims[0]);
  shape.back() = shapes[1][0];
  return shape;
}

// x [T, 1, k], rows [s] (-1 from the first that nobody wants), weight [n, k] -> [s, 1, n]; unwanted ones become 0
OPERATOR(RowHead) {
  const int k = (int)shapes[2][1], n = (int)shapes[2][0], room = (int)shapes[1][0];
  if (nparam != 4 || shapes[0][ndims[0] - 1] != k) return kWrongInputs;
  const float* x = (float*)params[0];
  const int* rows = (int*)params[1];
  float* y = (float*)params[3];
  int wanted = 0;
  for (; wanted < room && rows[wanted] >= 0; wanted++)
    if (rows[wanted] >= shapes[0][0]) return kWrongInputs;
  std::vector<float> chosen((size_t)wanted * k);
  for (int i = 0; i < wanted; i++) std::memcpy(&chosen[(size_t)i * k], x + (int64_t)rows[i] * k, k * sizeof(float));
  if (wanted) multiply(chosen.data(), (float*)params[2], y, wanted, n, k);
  std::memset(y + (int64_t)wanted * n, 0, (int64_t)(room - wanted) * n * sizeof(float));
  return kDone;
}
SHAPE(RowHead) { return {shapes[1][0], 1, shapes[2][0]}; }

// x [..., h], weight [h], epsilon [1] -> [..., h]
OPERATOR(RowRmsNorm) {
  if (nparam != 4) return kWrongInputs;
  const float *input = (float*)params[0], *weight = (float*)params[1], epsilon = *(float*)params[2];
  const int width = (int)shapes[1][0], rows = (int)product(shapes[0], ndims[0] - 1), part = 32;
  Threads::shared().run((rows + part - 1) / part, [&](int item) {
    for (int r = item * part; r < std::min(rows, (item + 1) * part); r++) {
      const float* x = input + (int64_t)r * width;
      float* y = (float*)params[3] + (int64_t)r * width;
      v8 squares = all(0);
      int i = 0;
      for (; i + 8 <= width; i += 8) squares += load(x + i) * load(x + i);
      float total = sum(squares);
      for (; i < width; i++) total += x[i] * x[i];
      const float factor = 1.0f / std::sqrt(total / width + epsilon);
      for (i = 0; i + 8 <= width; i += 8) store(y + i, load(x + i) * all(factor) * load(weight + i));
      for (; i < width; i++) y[i] = x[i] * factor * weight[i];
    }
  });
  return kDone;
}
SHAPE(RowRmsNorm) { return std::vector<int64_t>(shapes[0], shapes[0] + ndims[0]); }

namespace {
v8 silu(v8 gate) {
  const v8 zero = all(0), e = exp_of_negative(gate < zero ? gate : -gate);  // of -|gate|: never overflows
  return gate * (gate < zero ? e : all(1.0f)) / (all(1.0f) + e);
}
}  // namespace

// up, gate [...] -> up * silu(gate)
OPERATOR(RowSwiGlu) {
  if (nparam != 3) return kWrongInputs;
  const float *up = (float*)params[0], *gate = (float*)params[1];
  float* y = (float*)params[2];
  const int64_t count = product(shapes[0], ndims[0]), part = 16384;
  Threads::shared().run((int)((count + part - 1) / part), [&](int item) {
    const int64_t end = std::min(count, (item + 1) * part);
    int64_t i = item * part;
    for (; i + 8 <= end; i += 8) store(y + i, load(up + i) * silu(load(gate + i)));
    if (i == end) return;
    float rest[8] = {};
    std::memcpy(rest, gate + i, (end - i) * sizeof(float));
    const v8 last = silu(load(rest));
    for (int j = 0; i < end; i++, j++) y[i] = up[i] * last[j];
  });
  return kDone;
}
SHAPE(RowSwiGlu) { return std::vector<int64_t>(shapes[0], shapes[0] + ndims[0]); }
