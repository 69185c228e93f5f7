// Work shared between the calling thread and helpers, item by item, through a counter.
//
// Front end, client and other processes use the same cores: a helper that comes too late (somebody else has its core)
// finds the work withdrawn, so the caller waits at most for one item. Between calls a helper spins for a moment, since
// the next operator is mostly near, and then sleeps.
#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "simd.h"

class Threads {
 public:
  static Threads& shared() {
    static Threads* threads = new Threads;  // never destroyed: helpers may outlive main
    return *threads;
  }

  void set_count(int count) { count_ = std::max(1, count); }

  // each(item) for all items, in any order, on any thread. A second caller at the same time works alone.
  template <class F>
  void run(int items, const F& each) {
    std::unique_lock<std::mutex> only(entry_, std::try_to_lock);
    if (items < 2 || count_ < 2 || !only.owns_lock()) {
      for (int i = 0; i < items; i++) each(i);
      return;
    }
    for (; started_ + 1 < count_; started_++) std::thread([this] { help(); }).detach();
    next_ = 0, items_ = items, what_ = &each;
    work_ = [](Threads* self) {
      for (int i; (i = self->next_++) < self->items_;) (*static_cast<const F*>(self->what_))(i);
    };
    ticket_++;  // odd: open
    if (asleep_) {
      { std::lock_guard<std::mutex> lock(mutex_); }
      wake_.notify_all();
    }
    work_(this);
    ticket_++;  // even: closed
    for (int spins = 0; busy_;) ++spins < kSpins ? pause_briefly() : std::this_thread::yield();
  }

 private:
  static constexpr int kSpins = 4000;  // some 50 us

  static bool open(unsigned ticket, unsigned seen) { return ticket % 2 && ticket != seen; }

  void help() {
    for (unsigned seen = 0;;) {
      for (int i = 0; !open(ticket_, seen) && i < kSpins; i++) pause_briefly();
      if (!open(ticket_, seen)) {
        std::unique_lock<std::mutex> lock(mutex_);
        asleep_++;
        wake_.wait(lock, [&] { return open(ticket_, seen); });
        asleep_--;
      }
      busy_++;  // before the ticket is read: who closes it looks here afterwards
      const unsigned ticket = ticket_;
      if (open(ticket, seen)) {
        seen = ticket;
        work_(this);
      }
      busy_--;
    }
  }

  std::mutex entry_, mutex_;
  std::condition_variable wake_;
  std::atomic<int> next_{0}, busy_{0}, asleep_{0}, count_{(int)std::max(1u, std::thread::hardware_concurrency())};
  std::atomic<unsigned> ticket_{0};
  void (*work_)(Threads*) = nullptr;
  const void* what_ = nullptr;
  int items_ = 0, started_ = 0;
};
