// The paged KV caches of this process, by number. Their memory belongs to Python (serving/model/kv_cache.py); a graph
// knows only the number, so no size of a cache is part of a graph.
#pragma once
#include <cstdint>
#include <mutex>

struct Cache {
  float* memory = nullptr;  // [layers, 2 (K, V), blocks, block_size, kv_heads, head_dim]; null = closed
  int layers = 0, blocks = 0, block_size = 0, kv_heads = 0, head_dim = 0;

  int64_t slot_floats() const { return (int64_t)kv_heads * head_dim; }
  float* keys(int layer) const { return memory + 2 * layer * (int64_t)blocks * block_size * slot_floats(); }
  float* values(int layer) const { return keys(layer) + (int64_t)blocks * block_size * slot_floats(); }
};

class Caches {
 public:
  static Caches& shared() {
    static Caches caches;
    return caches;
  }

  // Its number, from 1, or 0 if there is no room for one more.
  int open(const Cache& cache) {
    std::lock_guard<std::mutex> lock(mutex_);
    for (int i = 0; i < kMost; i++)
      if (!caches_[i].memory) return caches_[i] = cache, i + 1;
    return 0;
  }

  void close(int number) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (number >= 1 && number <= kMost) caches_[number - 1] = Cache();
  }

  Cache get(int number) {
    std::lock_guard<std::mutex> lock(mutex_);
    return number >= 1 && number <= kMost ? caches_[number - 1] : Cache();
  }

 private:
  static constexpr int kMost = 256;
  std::mutex mutex_;
  Cache caches_[kMost];
};
