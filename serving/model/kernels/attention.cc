// Rotary embedding, writing K and V to the paged cache, and attention over it, for rows of any sequences.
#include <cmath>
#include <vector>

#include "abi.h"
#include "cache.h"
#include "matmul.h"

namespace {

// Neighbouring rows of one sequence at neighbouring positions, for which keys and values are read once.
struct Group {
  int first, count;
};
constexpr int kMostQueries = 48;

void rotate(const float* x, const float* cos, const float* sin, int dim, float scale, float* y) {
  const int half = dim / 2;
  for (int i = 0; i < half; i++) {
    const float a = x[i], b = x[i + half];
    y[i] = (a * cos[i] - b * sin[i]) * scale;
    y[i + half] = (b * cos[i + half] + a * sin[i + half]) * scale;
  }
}

// scores [room]: the first `seen` become their softmax, the rest 0. room is a multiple of 8.
void softmax(float* scores, int seen, int room) {
  const int whole = (seen + 7) / 8 * 8;
  std::fill(scores + seen, scores + whole, -INFINITY);
  v8 high8 = load(scores);
  for (int t = 8; t < whole; t += 8) high8 = larger(high8, load(scores + t));
  float high = high8[0];
  for (int j = 1; j < 8; j++) high = std::max(high, high8[j]);
  for (int t = 0; t < whole; t += 8) store(scores + t, exp_of_negative(load(scores + t) - all(high)));
  std::fill(scores + seen, scores + room, 0.0f);
  v8 sum8 = all(0);
  for (int t = 0; t < whole; t += 8) sum8 += load(scores + t);
  const v8 inverse = all(1.0f / sum(sum8));
  for (int t = 0; t < whole; t += 8) store(scores + t, load(scores + t) * inverse);
}

struct Rows {
  const float *query, *key, *value, *cos, *sin;
  const int *tables, *lengths, *slots, *starts;
  int count, num_tables, heads;
};

// Whether every place that the rows name lies in the cache.
bool fits(const Rows& rows, const Cache& cache) {
  for (int r = 0; r < rows.count; r++) {
    const int blocks = (rows.lengths[r] + cache.block_size - 1) / cache.block_size;
    if (rows.lengths[r] < 1 || rows.slots[r] < 0 || rows.slots[r] >= cache.blocks * (int64_t)cache.block_size) return false;
    if (rows.starts[r] < 1 || rows.starts[r] + (int64_t)blocks > rows.num_tables) return false;
    if (r && rows.starts[r] == rows.starts[r - 1] && rows.lengths[r] <= rows.lengths[r - 1]) continue;
    for (int b = 0; b < blocks; b++)
      if ((unsigned)rows.tables[rows.starts[r] + b] >= (unsigned)cache.blocks) return false;
  }
  return true;
}

void write(const Rows& rows, const Cache& cache, float* keys, float* values) {
  const int dim = cache.head_dim;
  const int64_t floats = cache.slot_floats();
  for (int r = 0; r < rows.count; r++) {
    const int64_t at = rows.slots[r] * floats;
    for (int h = 0; h < cache.kv_heads; h++)
      rotate(rows.key + r * floats + h * dim, rows.cos + r * dim, rows.sin + r * dim, dim, 1.0f, keys + at + h * dim);
    std::memcpy(values + at, rows.value + r * floats, floats * sizeof(float));
  }
}

// Attention of one group's queries of one KV head: scores [queries, room], softmax, then the weighted sum of values.
void attend(const Rows& rows, const Group& group, int h, const Cache& cache, const float* keys, const float* values,
            float* output) {
  const int dim = cache.head_dim, per_kv = rows.heads / cache.kv_heads, queries = group.count * per_kv;
  const int length = rows.lengths[group.first + group.count - 1], room = (length + kPanel - 1) / kPanel * kPanel;
  const float scale = 1.0f / std::sqrt((float)dim);
  thread_local std::vector<float> scores, rotated, result, panel;
  thread_local std::vector<const float*> k, v;
  scores.resize((size_t)queries * room), rotated.resize(queries * dim), result.resize(queries * dim);
  panel.resize(kPanel * dim), k.resize(room), v.resize(room);
  for (int i = 0; i < queries; i++) {
    const int64_t r = group.first + i / per_kv, head = h * per_kv + i % per_kv;
    rotate(rows.query + (r * rows.heads + head) * dim, rows.cos + r * dim, rows.sin + r * dim, dim, scale, &rotated[i * dim]);
  }
  const int* table = rows.tables + rows.starts[group.first];
  for (int t = 0; t < room; t++) {
    const int at = std::min(t, length - 1);
    const int64_t slot = (int64_t)table[at / cache.block_size] * cache.block_size + at % cache.block_size;
    k[t] = keys + slot * cache.slot_floats() + h * dim, v[t] = values + slot * cache.slot_floats() + h * dim;
  }
  for (int t = 0; t < room; t += kPanel) {
    pack(&k[t], dim, panel.data());
    tiles(queries, rotated.data(), dim, [&](int at) { return &panel[at * kPanel]; }, dim, &scores[t], room, false);
  }
  for (int i = 0; i < queries; i++) softmax(&scores[(size_t)i * room], rows.lengths[group.first + i / per_kv], room);
  for (int d = 0; d < dim; d += kPanel)
    tiles(queries, scores.data(), room, [&](int t) { return v[t] + d; }, length, &result[d], dim, false);
  for (int i = 0; i < queries; i++) {
    const int64_t r = group.first + i / per_kv, head = h * per_kv + i % per_kv;
    std::memcpy(output + (r * rows.heads + head) * dim, &result[i * dim], dim * sizeof(float));
  }
}

}  // namespace

// query [T, 1, heads * dim], key and value [T, 1, kv_heads * dim], cos and sin [T, dim], tables [1 + n]: the cache's
// number, then block tables end to end, lengths [T] (position + 1), slots [T], starts [T] (of a row's table in
// `tables`), layer [1] -> [T, 1, heads * dim]
OPERATOR(RowAttention) {
  if (nparam != 11) return kWrongInputs;
  const int* tables = (int*)params[5];
  const Cache cache = Caches::shared().get(tables[0]);
  if (!cache.memory) return kUnknownCache;
  const int dim = cache.head_dim, layer = *(int*)params[9];
  const int64_t width = shapes[0][ndims[0] - 1];
  if (shapes[1][ndims[1] - 1] != cache.slot_floats() || width % cache.slot_floats() || shapes[3][1] != dim) return kWrongInputs;
  if (layer < 0 || layer >= cache.layers) return kOutsideCache;
  const Rows rows{(float*)params[0], (float*)params[1], (float*)params[2], (float*)params[3], (float*)params[4],
                  tables, (int*)params[6], (int*)params[7], (int*)params[8],
                  (int)shapes[0][0], (int)shapes[5][0], (int)(width / dim)};
  if (!fits(rows, cache)) return kOutsideCache;
  float *keys = cache.keys(layer), *values = cache.values(layer), *output = (float*)params[10];
  write(rows, cache, keys, values);
  const int most = std::max(1, kMostQueries * cache.kv_heads / rows.heads);
  std::vector<Group> groups;
  for (int r = 0; r < rows.count; r++) {
    const bool follows = r && rows.starts[r] == rows.starts[r - 1] && rows.lengths[r] == rows.lengths[r - 1] + 1;
    if (follows && groups.back().count < most) groups.back().count++;
    else groups.push_back({r, 1});
  }
  const int items = (int)groups.size() * cache.kv_heads;
  Threads::shared().run(items, [&](int item) {  // the last, longest groups first
    attend(rows, groups[groups.size() - 1 - item / cache.kv_heads], item % cache.kv_heads, cache, keys, values, output);
  });
  return kDone;
}
SHAPE(RowAttention) { return std::vector<int64_t>(shapes[0], shapes[0] + ndims[0]); }

extern "C" int OpenCache(float* memory, int layers, int blocks, int block_size, int kv_heads, int head_dim) {
  return Caches::shared().open({memory, layers, blocks, block_size, kv_heads, head_dim});
}
extern "C" void CloseCache(int number) { Caches::shared().close(number); }
extern "C" void SetThreads(int count) { Threads::shared().set_count(count); }
