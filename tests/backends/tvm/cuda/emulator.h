// CUDA kernels as host code: the threads of a block are coroutines that meet at barriers.
#pragma once
#include <ucontext.h>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
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
inline ucontext_t scheduler;
inline ucontext_t* current;
inline std::function<void()> body;
inline bool ended;
inline void start() { body(); ended = true; swapcontext(current, &scheduler); }
inline void yield() { swapcontext(current, &scheduler); }

// Runs threads between barriers one after the other, backwards where asked: a result that depends
// on their order wants a barrier.
inline void launch(uint3 grid, uint3 block, bool backwards, std::function<void()> kernel) {
  body = std::move(kernel);
  const unsigned count = block.x * block.y * block.z;
  const size_t stack = 1 << 16;
  std::vector<char> stacks(count * stack);
  std::vector<ucontext_t> threads(count);
  for (unsigned b = 0; b < grid.x * grid.y * grid.z; ++b) {
    blockIdx = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
    std::vector<bool> done(count, false);
    std::memset(buf_dyn_shmem_ptr, 0xff, sizeof buf_dyn_shmem_ptr);  // not a number
    for (unsigned t = 0; t < count; ++t) {
      getcontext(&threads[t]);
      threads[t].uc_stack = {&stacks[t * stack], 0, stack};
      makecontext(&threads[t], start, 0);
    }
    for (unsigned left = count; left;)
      for (unsigned i = 0; i < count; ++i) {
        const unsigned t = backwards ? count - 1 - i : i;
        if (done[t]) continue;
        threadIdx = {t % block.x, t / block.x % block.y, t / block.x / block.y};
        current = &threads[t];
        ended = false;
        swapcontext(&scheduler, current);
        if (ended) { done[t] = true; --left; }
      }
  }
}
}  // namespace emulator

inline void __syncthreads() { emulator::yield(); }
inline void __syncwarp(unsigned = ~0u) { emulator::yield(); }
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
  emulator::yield();  // every thread of the warp has read what it overwrites
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) p[i * stride + j] = f.at[i][j];
}
}  // namespace nvcuda::wmma
