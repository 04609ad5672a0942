// CUDA kernels as host code: the threads of a block are coroutines that meet at barriers.
#pragma once
#undef _FORTIFY_SOURCE  // it takes a jump to another stack for a fault
#include <setjmp.h>
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <vector>
#include <vector_types.h>
#include <vector_functions.h>
#include <cuda_fp16.h>

#undef __launch_bounds__
#define __launch_bounds__(...)
#undef __global__
#define __global__

inline uint3 threadIdx, blockIdx;
alignas(64) unsigned char buf_dyn_shmem_ptr[1 << 18];

namespace emulator {
struct Coroutine {
  ucontext_t begin;
  jmp_buf at;
  bool begun = false;
};
inline jmp_buf scheduler;
inline Coroutine* current;
inline std::function<void()> body;
inline bool ended;
// Jumps, since swapcontext asks the system for the signal mask every time.
inline void start() { body(); ended = true; _longjmp(scheduler, 1); }
inline void yield() { if (!_setjmp(current->at)) _longjmp(scheduler, 1); }
inline void resume(Coroutine& thread) {
  current = &thread;
  ended = false;
  if (_setjmp(scheduler)) return;
  if (thread.begun) _longjmp(thread.at, 1);
  thread.begun = true;
  setcontext(&thread.begin);
}

struct Barrier {
  unsigned arrived = 0, passed = 0;
  void wait(unsigned count) {
    const unsigned before = passed;
    if (++arrived == count) { arrived = 0; ++passed; }
    while (passed == before) yield();
  }
};
inline Barrier of_block, of_warps[32];
inline unsigned thread, threads_in_block;
inline void sync_warp() {
  const unsigned first = thread / 32 * 32;
  of_warps[thread / 32].wait(threads_in_block - first < 32 ? threads_in_block - first : 32);
}

// Runs threads between barriers one after the other, backwards where asked: a result that depends
// on their order wants a barrier.
inline void launch(uint3 grid, uint3 block, bool backwards, std::function<void()> kernel) {
  body = std::move(kernel);
  const unsigned count = block.x * block.y * block.z;
  threads_in_block = count;
  const size_t stack = 1 << 16;
  std::unique_ptr<char[]> stacks(new char[count * stack]);
  for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    std::vector<bool> done(count, false);
    std::vector<Coroutine> threads(count);
    std::memset(buf_dyn_shmem_ptr, 0xff, sizeof buf_dyn_shmem_ptr);  // not a number
    for (unsigned t = 0; t < count; ++t) {
      getcontext(&threads[t].begin);
      threads[t].begin.uc_stack = {&stacks[t * stack], 0, stack};
      makecontext(&threads[t].begin, start, 0);
    }
    for (unsigned left = count; left;)
      for (unsigned i = 0; i < count; ++i) {
        const unsigned t = backwards ? count - 1 - i : i;
        if (done[t]) continue;
        threadIdx = {t % block.x, t / block.x % block.y, t / block.x / block.y};
        thread = t;
        resume(threads[t]);
        if (ended) { done[t] = true; --left; }
      }
  }
}

// The same for a kernel without barriers, whose threads need no stacks of their own.
inline void launch_apart(uint3 grid, uint3 block, bool backwards, std::function<void()> kernel) {
  const unsigned count = block.x * block.y * block.z;
  for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    for (unsigned i = 0; i < count; ++i) {
      const unsigned t = backwards ? count - 1 - i : i;
      threadIdx = {t % block.x, t / block.x % block.y, t / block.x / block.y};
      kernel();
    }
  }
}
}  // namespace emulator

inline void __syncthreads() { emulator::of_block.wait(emulator::threads_in_block); }
inline void __syncwarp(unsigned = ~0u) { emulator::sync_warp(); }
inline unsigned __activemask() { return ~0u; }
template <class T> T shuffled(T value, unsigned from) {
  static T values[1024];
  values[emulator::thread] = value;
  emulator::sync_warp();
  const T found = from < 32 ? values[emulator::thread / 32 * 32 + from] : value;
  emulator::sync_warp();
  return found;
}
template <class T> T __shfl_down_sync(unsigned, T value, unsigned by, int = 32) {
  return shuffled(value, emulator::thread % 32 + by);
}
template <class T> T __shfl_sync(unsigned, T value, unsigned from, int = 32) {
  return shuffled(value, from);
}
inline __half hexp(__half x) { return __float2half(std::exp(__half2float(x))); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline float min(float a, float b) { return std::fmin(a, b); }
inline int max(int a, int b) { return a > b ? a : b; }
inline int min(int a, int b) { return a < b ? a : b; }
template <class T> T __ldg(const T* p) { return *p; }

// Every thread holds the whole of its warp's fragments, so that an instruction is a loop of its own.
namespace nvcuda::wmma {
struct matrix_a; struct matrix_b; struct accumulator; struct row_major; struct col_major;
enum layout_t { mem_row_major, mem_col_major };
template <class Use, int M, int N, int K, class T, class Order = void>
struct fragment { T at[16][16]; };
template <class F, class V> void fill_fragment(F& f, V value) {
  for (auto& row : f.at) for (auto& x : row) x = value;
}
template <class U, int M, int N, int K, class T, class O>
void load_matrix_sync(fragment<U, M, N, K, T, O>& f, const T* p, unsigned stride) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      f.at[i][j] = std::is_same_v<O, col_major> ? p[j * stride + i] : p[i * stride + j];
}
template <class D, class A, class B, class C> void mma_sync(D& d, const A& a, const B& b, const C& c) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      float sum = c.at[i][j];
      for (int k = 0; k < 16; ++k) sum += float(a.at[i][k]) * float(b.at[k][j]);
      d.at[i][j] = sum;
    }
}
template <class F, class T> void store_matrix_sync(T* p, const F& f, unsigned stride, layout_t) {
  emulator::sync_warp();  // every thread of the warp has read what it overwrites
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) p[i * stride + j] = f.at[i][j];
}
}  // namespace nvcuda::wmma
