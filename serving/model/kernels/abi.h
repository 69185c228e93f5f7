// What MindSpore's ops.Custom(func_type="aot") calls: inputs then outputs in `params`, shapes[i][j] = size j of param i;
// 0 = done, anything else ends the step with an error. `<name>InferShape` is called at run time for dynamic shapes.
// https://www.mindspore.cn/tutorials/en/r2.6.0/custom_program/operation/op_custom_aot.html
#pragma once
#include <cstdint>
#include <vector>

#define OPERATOR(name) \
  extern "C" int name(int nparam, void** params, int* ndims, int64_t** shapes, const char** dtypes, void*, void*)
#define SHAPE(name) extern "C" std::vector<int64_t> name##InferShape(int* ndims, int64_t** shapes, void*)

enum Error { kDone = 0, kWrongInputs = 1, kUnknownCache = 2, kOutsideCache = 3 };

inline int64_t product(const int64_t* sizes, int count) {
  int64_t result = 1;
  for (int i = 0; i < count; i++) result *= sizes[i];
  return result;
}
